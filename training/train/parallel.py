# SPDX-License-Identifier: Apache-2.0
"""Several processes that train one network: `torchrun --nproc-per-node N -m training ...`.

Each has the whole network and a share of every batch; gradients are averaged. Without torchrun
there is one process, and nothing here does anything.
"""
from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor

TIMEOUT = timedelta(hours=12)  # of processes that wait while the first one renders or validates


def count() -> int:
    """Return the number of processes."""
    return int(os.environ.get('WORLD_SIZE', 1))


def rank() -> int:
    """Return the number of this process; the first one, 0, reports and saves."""
    return int(os.environ.get('RANK', 0))


def join(device: torch.device) -> torch.device:
    """Join the other processes; return the device of this one."""
    if count() == 1:
        return device
    if not torch.distributed.is_initialized():
        backend = 'cpu:gloo,cuda:nccl' if torch.cuda.is_available() else 'gloo'
        torch.distributed.init_process_group(backend, timeout=TIMEOUT)
    if device.type == 'cuda':
        device = torch.device('cuda', int(os.environ['LOCAL_RANK']))
        torch.cuda.set_device(device)
    return device


def wait() -> None:
    """Wait until all processes have arrived."""
    if count() > 1:
        join(torch.device('cpu'))
        torch.distributed.all_reduce(torch.zeros(1))


@torch.no_grad()
def average_(tensors: Iterable[Tensor]) -> None:
    """Replace floating-point tensors, of one device, by their means over the processes."""
    if count() > 1:
        tensors = list(tensors)
        flat = torch.cat([tensor.float().flatten() for tensor in tensors])
        torch.distributed.all_reduce(flat)
        for tensor, mean in zip(tensors, (flat / count()).split([t.numel() for t in tensors])):
            tensor.copy_(mean.view_as(tensor))


@torch.no_grad()
def copy_from_first_(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by those of the first process."""
    if count() > 1:
        for tensor in tensors:
            torch.distributed.broadcast(tensor, 0)


def leave(code: int) -> None:
    """End a process that has joined others at once, with an exit status.

    Threads of PyTorch's gloo now and then abort one that ends as usual (`terminate called without an
    active exception`, 2.13), long after its work is done; torchrun would call the training failed.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
