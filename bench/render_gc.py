"""render_gc.py -- the collector's figures (collect.py) as Markdown: first those that have an aim.

A ratio is taken within a run before its median is; stops of all runs are one distribution.
"""

import statistics

from render import ratios, spread, table


def cell_of(result, key):
    return result['gc']['cells'].get(key, {'values': {}, 'unit': ''})


def values(result, key, name):
    return list(cell_of(result, key)['values'].get(name, {}).values())


def stops(result, row, name):
    """Every stop of every run, in ms, from the shortest."""
    return sorted(ms for run in result['gc']['stops'].get(row, {}).get(name, ()) for ms in run)


def quantile(ordered, q):
    return ordered[min(int(len(ordered) * q), len(ordered) - 1)] if ordered else None


def ms(value):
    return '-' if value is None else f'{value:.3f}' if value < 10 else f'{value:,.0f}'


def two(xs):
    return spread(xs, '{:.2f}'.format)


def stop_aims(result):
    name, found = 'gcmalloc', stops(result, 'pause', 'gcmalloc')
    heartbeat = cell_of(result, 'pause.heartbeat p99.9')
    return [['stop, p99 / worst, ms', '≤ 1 / ≤ 2',
             f'{ms(quantile(found, 0.99))} / {ms(found[-1] if found else None)}'],
            ['heartbeat p99.9 over glibc', '≤ 1.5', two(ratios(heartbeat, name))]]


def leak_aims(result):
    peaks = [kib * 1024 / 1e6 for kib in values(result, 'cost.leaking peak_rss', 'on')]
    over = [[peak / base for peak, base in zip(peaks, values(result, f'cost.leaking {key}', 'on'))]
            for key in ('live', 'built')]
    rows = [['100 MB/s lost beside 1 GiB: MB/s', '100',
             spread(values(result, 'leaks rate', 'tight'))],
            ['… resident at most, MB', '≤ 1,300',
             spread(values(result, 'leaks peak', 'tight'))],
            ['… with past_end=0, MB', '', spread(values(result, 'leaks peak', 'tight.exact'))]]
    for metric in ('resident', 'mean_resident'):
        lost, freed = (cell_of(result, f'{row} {metric}')['values'].get('tight', {})
                       for row in ('leaks', 'frees'))
        rows.append([f'{metric.replace("_", " ")}, lost over freed', '≤ 1.1',
                     two(lost[run] / freed[run] for run in lost if freed.get(run))])
    return rows + [['leaking, defaults: peak over live bytes', '≤ 2.2', two(over[0])],
                   ['… over resident before leaking', '', two(over[1])]]


def cost_aims(result):
    rows = []
    for row, aim in (('replace', 0.98), ('larson', 0.98), ('churn', 0.98), ('leaking', 0.85)):
        cell = cell_of(result, f'cost.{row} time')
        # Throughput: the time with mode=off over the time with the collector.
        rows.append([f'throughput on over off, {row}', f'≥ {aim}', two(1 / r for r in
                                                                      ratios(cell, 'on', 'off'))])
    return rows


def tree_aims(result):
    cell = cell_of(result, 'trees time')
    return [[f'binary trees, time over {name}', '< 1',
             two(ratios(cell, 'trees', name + '.default'))] for name in ('boehm', 'go')]


def thread_aims(result):
    middle = {row: statistics.median(found) for row in ('0', '100', '1000', 'run2', 'run8')
              if (found := stops(result, f'threads.{row}', 'small'))}
    texts = [f'{row}: {ms(value)}' for row, value in middle.items()]
    return [['stop beside so many sleeping, running threads, ms', 'by running', ', '.join(texts)]]


def aims_text(result):
    rows = [row for part in (stop_aims, leak_aims, cost_aims, tree_aims, thread_aims)
            for row in part(result) if set(row[2]) - set('- /')]
    return ['## The collector: figures with an aim', ''] + table(['', 'aim', 'measured'], rows)


def stops_text(result):
    rows = []
    for row, runtimes in result['gc']['stops'].items():
        for name in runtimes:
            found = stops(result, row, name)
            if found:
                middle = statistics.median(found)
                rows.append([f'{row}, {name}', str(len(found))] + [ms(x) for x in (
                    middle, quantile(found, 0.99), found[-1])] + [f'{sum(found) / 1000:.2f}'])
    header = ['by gctrace', 'stops', 'median, ms', 'p99', 'worst', 'all, s']
    return ['## Stops of the world', ''] + table(header, rows) if rows else []


SKIPPED = ('count', 'p50', 'build')


def rows_named(result):
    """{row: {metric: cell}}; `pause.heartbeat p99` is of the row `pause`."""
    rows = {}
    for key, cell in result['gc']['cells'].items():
        label, metric = key.split(' ')
        row, _, part = label.rpartition('.')
        if part not in ('heartbeat', 'gap', 'tick'):
            row, part = label, ''
        if metric not in SKIPPED:
            rows.setdefault(row, {})[f'{part} {metric}'.strip()] = cell
    return rows


def cells_text(result):
    """Every other figure: a table for each row, a column for each runtime."""
    lines = []
    for row, metrics in rows_named(result).items():
        names = list(dict.fromkeys(n for cell in metrics.values() for n in cell['values']))
        body = [[f'{metric}, {cell["unit"]}'] + [spread(cell['values'].get(n, {}).values())
                                                 for n in names]
                for metric, cell in metrics.items()]
        lines += table([row] + names, body)
    return ['## What the programs measured', ''] + lines if lines else []


def options_text(result):
    options = result['gc']['options']
    used = {name for cell in result['gc']['cells'].values() for name in cell['values']}
    rows = [[name, f'`{text}`'] for name, text in options.items() if name in used]
    return ['Runtimes of ours:', ''] + table(['', 'GCMALLOC'], rows) if rows else []


def text(result):
    if not result.get('gc', {}).get('cells'):
        return []
    return (aims_text(result) + options_text(result) + stops_text(result) + cells_text(result))
