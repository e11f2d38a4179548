# SPDX-License-Identifier: Apache-2.0
"""Lifecycle and parameters of the node, and two nodes side by side; over real DDS."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('tf2_msgs')

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.parameter import Parameter
from ros_helpers import (
    DEPTH,
    SECOND,
    KnownFaces,
    Peer,
    active_node,
    calibrated_node,
    camera_info_message,
    image_message,
    known_node,
    spinning,
)

from depthface_ros.engines import EngineUnavailable
from depthface_ros.ros.parameters import leaves, old_names
from depthface_ros.ros.startup_log import ToRosLog

CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE, SHUTDOWN = (
    getattr(Transition, f'TRANSITION_{name}') for name in (
        'CONFIGURE', 'CLEANUP', 'ACTIVATE', 'DEACTIVATE', 'UNCONFIGURED_SHUTDOWN'))


@pytest.fixture
def unconfigured(monkeypatch):
    """Yield the peer of an unconfigured node."""
    rclpy.init()
    peer = Peer()
    peer.subject = known_node(monkeypatch)
    with spinning(peer.subject, peer.node):
        yield peer
    rclpy.shutdown()


def call(peer, kind, service: str, request):
    client = peer.node.create_client(kind, f'/depthface/{service}')
    assert client.wait_for_service(10)
    return peer.wait_for(client.call_async(request).result)


def state(peer) -> str:
    return call(peer, GetState, 'get_state', GetState.Request()).current_state.label


def set_parameter(peer, name: str, value):
    """Return whether the node accepted a value, and the reason if not; as `ros2 param set` does."""
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    return call(peer, SetParameters, 'set_parameters', request).results[0]


def test_the_life_cycle_twice_round(unconfigured):
    peer = unconfigured
    topic = '/depth/image'
    for second in (10, 20):
        assert state(peer) == 'unconfigured' and not peer.node.count_subscribers(topic)
        assert peer.change_state(CONFIGURE) and state(peer) == 'inactive'
        assert not peer.node.count_subscribers(topic)
        assert peer.change_state(ACTIVATE) and state(peer) == 'active'
        peer.wait_until_connected()
        peer.send_info(camera_info_message())
        peer.send(image_message(DEPTH, second * SECOND))
        peer.wait_for(lambda: peer.heard['tf'])
        assert peer.change_state(DEACTIVATE) and state(peer) == 'inactive'
        peer.wait_for(lambda: not peer.node.count_subscribers(topic))
        assert peer.change_state(CLEANUP) and state(peer) == 'unconfigured'
        peer.wait_for(lambda: peer.diagnostics()['state'] == 'unconfigured')
        assert peer.diagnostics()['engine'] == 'none'
        peer.heard['tf'].clear()
    assert peer.change_state(SHUTDOWN) and state(peer) == 'finalized'


def test_a_transition_that_fails_gives_the_reason_and_can_be_tried_again(unconfigured, monkeypatch):
    peer, made = unconfigured, []

    def fail_first(self, *_):
        made.append(1)
        if len(made) == 1:
            raise EngineUnavailable('the GPU is on holiday')

    monkeypatch.setattr(KnownFaces, '__init__', fail_first)
    assert not peer.change_state(CONFIGURE) and state(peer) == 'unconfigured'
    peer.wait_for(lambda: peer.diagnostics().get('last problem') ==
                  'cannot configure: the GPU is on holiday')
    assert b'\x02' in {message.status[0].level for message in peer.heard['diagnostics']}
    assert peer.change_state(CONFIGURE) and peer.change_state(ACTIVATE)
    assert state(peer) == 'active'


def test_a_quality_of_service_that_does_not_exist_fails_activation_and_leaves_nothing(monkeypatch):
    rclpy.init()
    peer = Peer()
    override = {'qos_overrides./depth/camera_info.subscription.reliability': 'perhaps'}
    node = known_node(monkeypatch, **override)
    with spinning(node, peer.node):
        assert peer.change_state(CONFIGURE) and not peer.change_state(ACTIVATE)
        assert state(peer) == 'inactive'
        peer.wait_for(lambda: 'perhaps' in peer.diagnostics().get('last problem', ''))
        peer.wait_for(lambda: not peer.node.count_subscribers('/depth/image'))
        assert peer.change_state(CLEANUP)
    rclpy.shutdown()


def test_parameters_read_like_a_manual(unconfigured):
    names = [name for name, *_ in leaves()]
    described = call(unconfigured, DescribeParameters, 'describe_parameters',
                     DescribeParameters.Request(names=names)).descriptors
    for (name, default, metadata), descriptor in zip(leaves(), described):
        assert descriptor.description.startswith(metadata['description']), name
        assert descriptor.description.endswith('.')
        read_at = metadata['read_at']
        assert descriptor.description.endswith(f'Read at {read_at}.') == bool(read_at)
        assert descriptor.read_only == (read_at == 'start')
        if type(default) in (int, float):
            number, = descriptor.integer_range or descriptor.floating_point_range
            assert number.from_value <= default <= number.to_value, name


def test_parameters_change_at_run_time(monkeypatch):
    with calibrated_node(monkeypatch) as peer:
        peer.send(image_message(DEPTH, SECOND))
        peer.wait_for(lambda: peer.heard['tf'])
        assert set_parameter(peer, 'publish_tf', False).successful
        peer.send(image_message(DEPTH, 2 * SECOND))
        peer.wait_for(lambda: len(peer.heard['mesh']) == 2)
        assert len(peer.heard['tf']) == 1
        assert set_parameter(peer, 'diagnostics.latency_warn', 1e-9).successful
        assert set_parameter(peer, 'mesh_lifetime', 7.0).successful
        peer.send(image_message(DEPTH, 3 * SECOND))
        assert peer.wait_for(lambda: peer.heard['mesh'][2:])[0].lifetime.sec == 7


@pytest.mark.parametrize('name, value, reason', [
    ('autostart', False, 'read-only'),
    ('engine', 'cpu', 'deactivate and clean up first'),
    ('estimator.alignment.steps', 1, 'deactivate and clean up first'),
    ('estimator.refine', False, 'deactivate and clean up first'),
    ('models_folder', '/other', 'deactivate and clean up first'),
    ('estimator.min_confidence', 1.5, 'range'),
    ('estimator.min_confidence', float('nan'), 'range'),
    ('tracker.sightings', 0, 'range'),
    ('mesh_lifetime', 'long', 'type'),
])
def test_invalid_values_are_refused_with_a_reason(monkeypatch, name, value, reason):
    with active_node(monkeypatch, connected=False) as peer:
        result = set_parameter(peer, name, value)
        assert not result.successful and reason in result.reason.lower()


def test_the_nodes_own_dump_is_accepted_while_it_runs(monkeypatch):
    with active_node(monkeypatch, connected=False) as peer:
        names = [name for name, *_ in leaves()] + ['qos_overrides./depth/image.subscription.depth']
        values = call(peer, GetParameters, 'get_parameters',
                      GetParameters.Request(names=names)).values
        request = SetParameters.Request(parameters=[
            ParameterMessage(name=name, value=value) for name, value in zip(names, values)])
        results = call(peer, SetParameters, 'set_parameters', request).results
        assert all(result.successful for result in results), results


def test_old_names_of_parameters_set_the_current_ones(monkeypatch):
    assert old_names()['estimator.keep_confidence'] == 'estimator.track_keep_confidence'
    rclpy.init()
    peer = Peer()
    node = known_node(monkeypatch, **{'estimator.sure_confidence': 0.5})
    with spinning(node, peer.node):
        assert node.get_parameter('estimator.tta_confidence').value == 0.5
        assert set_parameter(peer, 'estimator.keep_confidence', 0.25).successful
        assert node.settings.estimator.track_keep_confidence == 0.25
        assert node.settings.estimator.tta_confidence == 0.5
        assert set_parameter(peer, 'estimator.finder.max_heads', 3).successful
        assert node.settings.estimator.detector.max_heads == 3
        assert not set_parameter(peer, 'estimator.keep_confidence', 1.5).successful
        assert not node.has_parameter('estimator.keep_confidence')
    rclpy.shutdown()


def test_removed_parameters_are_accepted_with_a_warning(monkeypatch, capfd):
    rclpy.init()
    peer = Peer()
    node = known_node(monkeypatch, **{'estimator.shape_iterations': 1})
    assert 'estimator.shape_iterations has no effect any more' in capfd.readouterr().err
    with spinning(node, peer.node):
        assert set_parameter(peer, 'estimator.shape_looks', 2).successful
        assert not node.has_parameter('estimator.shape_looks')
    assert 'estimator.shape_looks has no effect any more' in capfd.readouterr().err
    rclpy.shutdown()


@pytest.mark.parametrize('name', ['tracker.keep_s', 'estimator.detector.separation',
                                  'estimator.finder.separation'])
def test_a_whole_number_is_a_value_of_a_real_parameter(monkeypatch, name):
    """As `-p tracker.keep_s:=2` and `ros2 param set` send it."""
    rclpy.init()
    peer = Peer()
    node = known_node(monkeypatch, **{name: 1})
    current = old_names().get(name, name)
    with spinning(node, peer.node):
        assert node.get_parameter(current).value == 1.0
        assert set_parameter(peer, name, 0).successful
        assert type(node.get_parameter(current).value) is float
        result = set_parameter(peer, name, 100_000)
        assert not result.successful and 'range' in result.reason.lower()
        assert not set_parameter(peer, name, True).successful
    rclpy.shutdown()


@pytest.mark.parametrize('name, value', [('publish_tf', 1), ('tracker.sightings', 2.5),
                                         ('tracker.keep_s', 'long'), ('tracker.keep_s', True)])
def test_a_value_of_another_type_at_the_start_is_refused_with_both_named(monkeypatch, name, value):
    rclpy.init()
    try:
        with pytest.raises(ValueError, match=f'parameter {name} is {value!r}: expected a'):
            known_node(monkeypatch, **{name: value})
    finally:
        rclpy.shutdown()


def test_a_text_that_is_no_choice_is_refused_before_configuration_too(unconfigured):
    result = set_parameter(unconfigured, 'engine', 'abacus')
    assert not result.successful and 'expected one of auto' in result.reason
    assert set_parameter(unconfigured, 'engine', 'cpu').successful


def test_two_nodes_in_two_namespaces_use_their_own_cameras(monkeypatch):
    rclpy.init()
    peers = [Peer(namespace) for namespace in ('left', 'right')]
    nodes = [known_node(monkeypatch, namespace, first_id=first_id)
             for namespace, first_id in (('left', 1), ('right', 1001))]
    for node in nodes:
        node.trigger_configure()
        node.trigger_activate()
    with spinning(*nodes, *(peer.node for peer in peers)):
        for metres, peer in enumerate(peers, 1):
            peer.wait_until_connected()
            peer.send_info(camera_info_message())
            peer.send(image_message(np.full_like(DEPTH, 1000 * metres), metres * SECOND))
        for metres, peer in enumerate(peers, 1):
            mesh = peer.wait_for(lambda peer=peer: peer.heard['mesh'])
            assert [marker.header.stamp.sec for marker in mesh] == [metres]
        # /tf is one for all, so each has its own numbers.
        frames = peers[0].wait_for(lambda: len(found := [
            message.transforms[0].child_frame_id for message in peers[0].heard['tf']]) == 2
            and found)
        assert frames == ['face_f00001', 'face_f01001']
        names = peers[0].wait_for(lambda: len(found := {
            message.status[0].name for message in peers[0].heard['diagnostics']}) == 2 and found)
        assert names == {'left/depthface: faces', 'right/depthface: faces'}
    rclpy.shutdown()


def test_log_records_of_the_core_reach_the_log_of_ros():
    told = []
    logger = SimpleNamespace(**{level: lambda text, level=level: told.append((level, text))
                                for level in ('info', 'warning', 'error')})
    log = logging.getLogger('depthface_ros.engines.test')
    handler = ToRosLog(logger)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    for level in ('info', 'warning', 'error'):
        getattr(log, level)('%d %% built', 50)
    log.removeHandler(handler)
    assert told == [(level, '50 % built') for level in ('info', 'warning', 'error')]
