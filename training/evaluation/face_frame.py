# SPDX-License-Identifier: Apache-2.0
"""Compare the face frame with the axes of ICT-FaceKit, whose eyes look along the model's axis.

The soft-tissue facial angle lies between the face frame's x and the line from sellion to pogonion.
It is 91 ± 7 degrees where the Frankfurt plane is level (Holdaway 1983).
"""
from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from depthface_ros import FaceEstimator
from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.face_model.mesh import FaceModel
from training.data.render import add_people_arguments
from training.evaluation.frames import intrinsics_of, match
from training.synthesis.people import ict_people, person
from training.synthesis.people.anny_people import FACE_MODEL
from training.synthesis.people.person import PeopleFactory
from training.synthesis.scene.cameras import sample_camera
from training.synthesis.scene.random_scene import sample_scene
from training.synthesis.scene.views import measure, render_frame

DISTANCE = (0.5, 1.2)  # m
GNATHION = 8  # landmark at the lower end of the chin
CHIN_HEIGHT = 0.02  # m above it, below the fold under the lip


def sight_pitch_deg(face_from_ict: np.ndarray) -> float:
    """Return the pitch of ICT's line of sight above the face frame's x, in degrees.

    :param face_from_ict: (3, 3), from axes x forward, y left, z up of ICT's head.
    """
    forward, _, up = face_from_ict[:, 0]
    return float(np.degrees(np.arctan2(up, forward)))


def facial_angle_deg(face: np.ndarray, model: FaceModel) -> float:
    """Return the soft-tissue facial angle of a neutral face (V, 3) in the face frame, in degrees."""
    chin = face[model.regions['chin']]
    chin = chin[chin[:, 2] < model.landmarks(face)[GNATHION, 2] + CHIN_HEIGHT]
    forward, _, up = chin[chin[:, 0].argmax()] - face[model.sellion]
    return float(90 + np.degrees(np.arctan2(forward, -up)))


def labels(identities: range, people: PeopleFactory) -> tuple[list[float], list[float]]:
    """Return the pitches of the line of sight and the facial angles of neutral ICT heads."""
    model, pitches, angles = FaceModel.load(), [], []
    for identity in identities:
        vertices, face_from_ict = people.ict.neutral(identity, model)
        pitches.append(sight_pitch_deg(face_from_ict))
        angles.append(facial_angle_deg(people.ict.face(vertices), model))
    return pitches, angles


def estimates(count: int, people: PeopleFactory, estimator: FaceEstimator,
              seed: int) -> list[float]:
    """Return the pitches of ICT's line of sight in the face frames that the pipeline estimates."""
    pitches, rng = [], np.random.default_rng(seed)
    while len(pitches) < count:
        scene = sample_scene(rng, people, sample_camera(rng, 'validation'), 1, DISTANCE)
        if not scene.heads or scene.heads[0].person.generator != 'ict':
            continue
        noise = torch.Generator().manual_seed(int(rng.integers(2 ** 40)))
        depth = measure([render_frame(scene)], [scene.camera.sensor], noise)[0].numpy()
        faces = estimator(depth, intrinsics_of(scene))
        for index in match(faces, scene.heads).values():
            face_from_true = (faces[index].camera_from_face[:3, :3].T
                              @ scene.heads[0].camera_from_face[:3, :3])
            _, true_from_ict = people.ict.neutral(scene.heads[0].person.identity, FaceModel.load())
            pitches.append(sight_pitch_deg(face_from_true @ true_from_ict))
    return pitches


def summary(values: list[float]) -> dict[str, float]:
    """Return count, mean, standard error and standard deviation."""
    std = float(np.std(values, ddof=1))
    return {'count': len(values), 'mean': float(np.mean(values)),
            'standard_error': std / len(values) ** 0.5, 'standard_deviation': std}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_people_arguments(parser)
    parser.add_argument('--faces', type=int, default=200)
    parser.add_argument('--models', type=Path, default=MODELS_FOLDER)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='JSON file of the figures')


def run(options: argparse.Namespace) -> None:
    if options.ict is None:
        raise ValueError('no ICT-FaceKit: expected its folder as --ict')
    people = PeopleFactory('validation', options.ict, options.hair)
    person.ICT_SHARE = 1.0
    first = ict_people.IDENTITIES['validation'][0]
    pitches, angles = labels(range(first, first + options.faces), people)
    found = estimates(options.faces, people, FaceEstimator('cpu', models_folder=options.models),
                      options.seed)
    model = FaceModel.load()
    mesh = hashlib.sha256(FACE_MODEL.read_bytes()).hexdigest()
    figures = {'face_model_sha256': mesh, 'sight_pitch_deg_of_labels': summary(pitches),
               'sight_pitch_deg_of_estimates': summary(found),
               'facial_angle_deg': summary(angles),
               'facial_angle_deg_of_template': facial_angle_deg(model.template, model)}
    print(json.dumps(figures, indent=2))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + '\n')
