# SPDX-License-Identifier: Apache-2.0
"""The tables of `evaluate --streams`, as Markdown: see figures.py."""
from __future__ import annotations

from markdown_tables import figure, measured, results, table

AGES = ('0.1 s', '1 s', '3 s')
PRECISE = 'precise, 0.5 mm'
EXPRESSIVE = 'streams_expressive'  # people who move their faces, most of them within 1 m
BOUND = 'known_shapes'
SHOWN = 0.2  # explained variance from which on a coefficient stands in the table of cameras


@figure
def streams() -> str:
    """What the streams are summed up to."""
    talk, far, rest = (_script(name) for name in ('talk', 'far', 'rest'))
    near, middle = (_group('talk', f'talk, {metres} m') for metres in ('0.6', '1.2'))
    explained = [value for _, value in _explained()]
    return table(['synthetic streams', 'value ± standard error'], [
        ['streams; of one script', f'{results("streams")["streams"]}; {talk["streams"]}'],
        ['rotation, last second, people who talk', _of(talk, 'rotation_deg last', '.2f', '°')],
        ['surface, posed, the same', _of(talk, 'surface_mm last', '.2f', ' mm')],
        ['surface, after rigid alignment', _of(talk, 'rigid_mm last', '.2f', ' mm')],
        ['surface, posed, camera of 0.5 mm noise',
         _of(_group('camera', PRECISE), 'surface_mm last', '.2f', ' mm')],
        ['the same, inner face',
         _of(_group('camera', PRECISE), 'face_surface_mm last', '.2f', ' mm')],
        ['jitter at rest, rotation', _of(rest, 'jitter_deg', '.2f', '°')],
        ['jitter at rest, position', _of(rest, 'jitter_mm', '.2f', ' mm')],
        ['lag of turns', _of(talk, 'lag_ms', '.0f', ' ms')],
        ['expressions, mean correlation, 0.6 m', _of(near, 'expression_correlation', '.2f')],
        ['expressions, mean correlation, 1.2 m', _of(middle, 'expression_correlation', '.2f')],
        ['faces at 2-3 m: missed', _of(far, 'missed_percent', '.1f', ' %')],
        ['faces at 2-3 m: rotation', _of(far, 'rotation_deg', '.2f', '°')],
        [f'coefficients better than the mean of the prior, '
         f'{results(EXPRESSIVE)["expressive_people"]} people within 1 m',
         f'{sum(value > 0 for value in explained)} of {len(explained)}'],
    ]) + measured('streams')


@figure
def streams_scripts() -> str:
    rows = []
    for name, row in results('streams')['groups']['script'].items():
        rows.append([f'`{name}`', row['streams'], _of(row, 'missed_percent', '.1f'),
                     _of(row, 'id_s', '.2f'),
                     ' / '.join(_value(row, key, '.1f') for key in ('id_switches', 'taken_ids')),
                     _of(row, 'rotation_deg', '.2f'), _of(row, 'sellion_mm', '.1f'),
                     _value(row, 'lag_ms', '.0f')])
    return table(['script', 'streams', 'missed %', 's to an id', 'ids: changed / passed on',
                  'rotation °', 'sellion mm', 'lag ms'], rows)


@figure
def streams_age() -> str:
    groups = results('streams')['groups']
    rows = []
    for name, row in [('`rest`: at rest all the time', _script('rest')),
                      *groups['distance'].items(), *groups['camera'].items()]:
        rows.append([name, row['streams'], *(
            ' / '.join(_value(row, f'{key} at {age}', form) for age in AGES)
            for key, form in (('rotation_deg', '.2f'), ('sellion_mm', '.1f'),
                              ('surface_mm', '.2f'), ('face_surface_mm', '.2f'),
                              ('rigid_mm', '.2f'))),
            ' / '.join(_value(row, key, '.2f') for key in ('jitter_deg', 'jitter_mm'))])
    return table(['after 0.1 / 1 / 3 s in view', 'streams', 'rotation °', 'sellion mm',
                  'surface mm, posed', 'inner face', 'surface mm, rigid',
                  'jitter at rest ° / mm'], rows)


@figure
def streams_bound() -> str:
    """The tracker beside one that knows all shapes."""
    groups = results('streams')['groups']
    bound = results(BOUND)['groups']
    ours = {'all': groups['all']['all']} | groups['distance']
    return table(['mean over images', 'people', 'rotation °: this tracker', 'true shapes',
                  'sellion mm: this tracker', 'true shapes'], [
        [name, bound[name]['people'], *(
            _of(source, key, form)
            for key, form in (('rotation_deg', '.2f'), ('sellion_mm', '.1f'))
            for source in (row, bound[name]))] for name, row in ours.items()]) + measured(BOUND)


@figure
def streams_coverage() -> str:
    meaning = {'turn_x': 'roll', 'turn_y': 'pitch', 'turn_z': 'yaw',
               'lateral_x': 'across the ray, to the right', 'lateral_y': 'across the ray, down',
               'radial': 'along the ray'}
    return table(['error', 'within one sigma (normal: 68 %)', 'within two (95 %)'], [
        [meaning[axis], *(_of(row, f'within_{k}_sigma', '.0f', ' %') for k in (1, 2))]
        for axis, row in results('streams')['coverage'].items()])


@figure
def streams_expressions() -> str:
    explained = _explained()
    return table(['explained variance', 'coefficients'], [
        [heading, ', '.join(f'`{name}` {value:.2f}' for name, value in explained
                            if low <= value < high) or '-']
        for heading, low, high in (('0.5 and more', 0.5, 2.0), ('0.2 to 0.5', 0.2, 0.5),
                                   ('0 to 0.2', 0.0, 0.2), ('below 0', -1e9, 0.0))]
                 ) + measured(EXPRESSIVE)


@figure
def streams_expressions_cameras() -> str:
    cameras = results(EXPRESSIVE)['explained_variance_of_cameras']
    return table(['coefficient', 'all', *cameras], [
        [f'`{name}`', f'{value:.2f}', *(f'{row[name]:.2f}' if name in row else '-'
                                        for row in cameras.values())]
        for name, value in _explained() if value >= SHOWN])


def _explained() -> list[tuple[str, float]]:
    """Return coefficients and their explained variance, best first."""
    return sorted(results(EXPRESSIVE)['explained_variance'].items(), key=lambda item: -item[1])


def _script(name: str) -> dict:
    return _group('script', name)


def _group(kind: str, name: str) -> dict:
    return results('streams')['groups'][kind].get(name, {})


def _of(row: dict, key: str, form: str, unit: str = '') -> str:
    if key not in row:
        return '-'
    value, error = row[key]
    known = f' ± {error:{form}}' if error == error else ''
    return f'{value:{form}}{known}{unit}'


def _value(row: dict, key: str, form: str) -> str:
    return f'{row[key][0]:{form}}' if key in row else '-'
