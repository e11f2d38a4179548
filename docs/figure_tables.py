# SPDX-License-Identifier: Apache-2.0
"""Tables of accuracy, and tables from the code: see figures.py."""
from __future__ import annotations

from markdown_tables import ROOT, cell, figure, measured, results, table

from depthface_ros.engines import MODELS_FOLDER
from depthface_ros.estimation.expression_calibration import ExpressionCalibration
from depthface_ros.face_model.mesh import EXPRESSION_NAMES

RELIABLE = 12  # coefficients in the short table of expressions
RELIABILITY_AT = (0.6, 1.2, 2.0)  # m

# README

@figure
def accuracy() -> str:
    synthetic = results('evaluation')
    rows = []
    for name, group in (('synthetic, 0.4-1.5 m, yaw within ±60°', 'core'),
                        ('synthetic, 0.3-3.5 m, any yaw that shows the face', 'range')):
        row = next(iter(synthetic['groups'][group].values()))
        rows.append([name, f'{row["faces"]}, {100 - row["missed_percent"][0]:.1f} %',
                     f'{cell(row, "geodesic_deg_median", ".1f")}° / '
                     f'{cell(row, "geodesic_deg_p95", ".1f")}°',
                     f'{cell(row, "sellion_mm_median", ".1f")} mm',
                     f'{cell(row, "mesh_surface_mm_mean", ".1f")} mm'])
    return table(['', 'faces, found', 'rotation, median / p95', 'sellion, median',
                  'mesh to surface, mean'], rows + [_real_row()])


def _real_row() -> list[str]:
    row = results('kinect2')['groups']['range']['all']
    return ['**real** Kinect v2 crops, 6 people, marked landmarks',
            f'{row["frames"]}, {100 - row["missed_percent"][0]:.1f} %', 'no truth',
            f'landmarks {cell(row, "landmark_mm_mean", ".1f")} mm, mean',
            f'points {row["mesh_to_points_mm_median"]:.1f} mm, median']


# Accuracy

@figure
def accuracy_groups() -> str:
    return _groups('range', 'core', 'distance')


@figure
def accuracy_yaw() -> str:
    return _groups('yaw')


@figure
def accuracy_occlusion() -> str:
    return _groups('occlusion')


@figure
def accuracy_cameras() -> str:
    return _groups('family', 'camera')


def _groups(*names: str) -> str:
    rows = []
    for name in names:
        for value, row in results('evaluation')['groups'][name].items():
            rows.append([value, row['faces'], cell(row, 'missed_percent', '.1f'),
                         *(_pair(row, key, form) for key, form in (
                             ('geodesic_deg', '.2f'), ('sellion_mm', '.1f'))),
                         f'{cell(row, "mesh_surface_mm_mean", ".2f")} / '
                         f'{cell(row, "mesh_surface_aligned_mm_mean", ".2f")}'])
    return table(['group', 'faces', 'missed %', 'rotation °, median / mean / p95',
                  'sellion mm, median / mean / p95', 'mesh to surface mm, raw / aligned'], rows)


def _pair(row: dict, key: str, form: str) -> str:
    return ' / '.join(cell(row, f'{key}_{kind}', form) for kind in ('median', 'mean', 'p95'))


@figure
def accuracy_measured() -> str:
    return measured('evaluation')


@figure
def false_faces() -> str:
    figures = results('evaluation')
    rows = [[distance, row['faces'], cell(row, 'missed_percent', '.1f'),
             cell(row, 'false_per_100_frames', '.2f')]
            for distance, row in figures['distances'].items()]
    rows.append(['all', figures['faces'],
                 cell(figures['groups']['range']['all'], 'missed_percent', '.1f'),
                 '{:.2f} ± {:.2f}'.format(*figures['false_faces_per_100_frames'])])
    return table(['distance', 'faces', 'missed %', 'false faces per 100 frames'], rows)


@figure
def uncertainty() -> str:
    meaning = {'turn_x': 'roll, about x of the face', 'turn_y': 'pitch, about y of the face',
               'turn_z': 'yaw, about z of the face', 'lateral_x': 'across the ray, to the right',
               'lateral_y': 'across the ray, down', 'radial': 'along the ray'}
    rows = [[meaning.get(name, name), *(f'{cell(row, f"within_{k}_sigma", ".1f")} %'
                                        for k in (1, 2))]
            for name, row in results('evaluation')['within_sigma'].items()]
    return table(['error', 'within one sigma (normal: 68 %)', 'within two (95 %)'], rows)


@figure
def expressions() -> str:
    return _expressions(None)


@figure
def expressions_best() -> str:
    return _expressions(RELIABLE)


def _expressions(count: int | None) -> str:
    streams = results('streams_expressive')['explained_variance']
    calibration = ExpressionCalibration.load(MODELS_FOLDER)
    best = sorted(results('evaluation')['expression'].items(),
                  key=lambda item: -item[1]['explained_percent_near'][0])[:count]
    return table(['coefficient', 'correlation, all distances', 'explained variance within 1 m',
                  'in streams', *(f'reliability at {metres} m' for metres in RELIABILITY_AT)],
                 [[f'`{name}`', cell(row, 'correlation', '.2f'),
                   f'{cell(row, "explained_percent_near", ".0f")} %',
                   f'{100 * streams[name]:.0f} %' if name in streams else '-',
                   *(f'{calibration.reliability_at(metres)[EXPRESSION_NAMES.index(name)]:.2f}'
                     for metres in RELIABILITY_AT)] for name, row in best])


@figure
def real_frames() -> str:
    row, tracked = (results('kinect2')['groups']['range'][name] for name in ('all', 'tracked'))
    return table(['figure', 'single images', 'as streams'], [
        ['frames of one person each', row['frames'], ''],
        ['missed', f'{row["missed_percent"][0]:.1f} %', ''],
        ['other faces: bystanders, false ones', row['surplus_faces'], ''],
        ['landmarks across the ray, a constant per point removed, mean',
         *(f'{cell(each, "landmark_mm_mean", ".2f")} mm' for each in (row, tracked))],
        *([f'{name}: correlation, slope', *(_mouth(each, key) for each in (row, tracked))]
          for name, key in (('opening of the mouth', 'opening'),
                            ('the same, less the mean of the person', 'opening_change'),
                            ('width of the mouth (smiles, funnels)', 'width'),
                            ('the same, less the mean of the person', 'width_change'))),
        *([*line, ''] for line in _label_free(row))]) + measured('kinect2')


@figure
def real_sr305() -> str:
    row = results('sr305')['groups']['range']['all']
    return table(['figure', 'value'], [
        ['images of one person', row['frames']],
        ['images in which the face is found', row['frames_with_faces']],
        ['other faces', row['surplus_faces']],
        *_label_free(row)]) + measured('sr305')


def _label_free(row: dict) -> list[list[str]]:
    return [['measured points to mesh, median', f'{row["mesh_to_points_mm_median"]:.2f} mm'],
            ['mirrored copy: rotation differs by', f'{row["mirror_deg_median"]:.2f}°'],
            ['rolled copy (20°): rotation differs by', f'{row["roll_deg_median"]:.2f}°']]


@figure
def real_landmarks() -> str:
    points = results('kinect2')['groups']['points']['mean error mm']
    return table(['landmark', 'mean error, mm', 'standard error'], [
        [name, f'{value:.1f}', f'{error:.1f}'] for name, (value, error) in points.items()])


def _mouth(row: dict, name: str) -> str:
    return ', '.join(cell(row, f'mouth_{name}_{kind}', '.2f') for kind in ('correlation', 'slope'))


# From the code

@figure
def parameters() -> str:
    from depthface_ros.ros.parameter_texts import markdown_text
    return markdown_text()


@figure
def cameras() -> str:
    import yaml
    presets = yaml.safe_load((ROOT / 'config' / 'cameras.yaml').read_text())
    return table(['`camera:=`', 'driver', 'depth image', 'camera_info', ''], [
        [f'`{name}`', camera['driver'], f'`{camera["depth_topic"]}`',
         f'`{camera["info_topic"]}`', camera['note']] for name, camera in presets.items()])
