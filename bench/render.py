"""render.py -- turns a result of run.py into figures and Markdown.

    render.py RESULT.json     prints the Markdown again

The statistics live here, since the pictures (plot.py) need the same ones: a median with its least
and greatest, and a ratio that is taken within each run before the median is.

"The best peer" is, for each row, the one with the least median: so `ours over the best peer`
compares with an allocator that does not exist, the best at everything.
"""

import json
import math
import statistics
import sys

# Metrics that are worth a ratio; the rest (p50, max, build ...) stay in the JSON file.
RATIO_METRICS = ('time', 'p99', 'p99.9')
OURS = 'gcmalloc'
# Columns beside the peers' in tables of ratios.
AGAINST = ('ours / best peer', 'ours / jemalloc')


def summary(values):
    """(median, least, greatest), or None for no values."""
    values = list(values)
    return (statistics.median(values), min(values), max(values)) if values else None


def ratios(cell, name, base='glibc'):
    """Run by run: the value under `name` over that under glibc; runs that lack one are left out."""
    ours, theirs = cell['values'].get(name, {}), cell['values'].get(base, {})
    return [ours[run] / theirs[run] for run in ours if theirs.get(run)]


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values)) if values else None


def rows_of(result, metrics, group='workloads'):
    """[(label, cell)] of a group's figures with one of these metrics."""
    rows = []
    for key, cell in result.get(group, {}).items():
        row, metric = key.split(' ')
        if metric in metrics:
            rows.append((row if metric in ('time', 'peak_rss') else f'{row} {metric}', cell))
    return rows


def best_peer(cell):
    """The name of the allocator, not ours, with the least median, or None."""
    middle = {name: statistics.median(runs.values()) for name, runs in cell['values'].items()
              if runs and not name.startswith(OURS)}
    return min(middle, key=middle.get) if middle else None


def against(cell, column):
    """Ours over the best peer, or over jemalloc, run by run."""
    return ratios(cell, OURS, best_peer(cell) if column == AGAINST[0] else 'jemalloc')


def number(value):
    return f'{value:,.0f}' if value >= 1000 else f'{value:.3g}' if value >= 1 else f'{value:.2f}'


def spread(values, show=number):
    values = list(values)
    found = summary(values)
    if len(values) == 1:
        return show(found[0])
    return '-' if not found else f'{show(found[0])} ({show(found[1])}-{show(found[2])})'


def table(header, rows):
    lines = ['| ' + ' | '.join(header) + ' |', '|---|' + '---:|' * (len(header) - 1)]
    return lines + ['| ' + ' | '.join(row) + ' |' for row in rows] + ['']


def absolute_table(rows, names, scale=1):
    body = [[label] + [spread(v / scale for v in cell['values'].get(n, {}).values()) for n in names]
            for label, cell in rows]
    return table([''] + names, body)


def mean_of(ratio_lists):
    mean = geometric_mean([statistics.median(found) for found in ratio_lists if found])
    return f'**{mean:.2f}**' if mean else '-'


def ratio_table(rows, names):
    others = [n for n in names if n != 'glibc']
    columns = {name: [ratios(cell, name) for _, cell in rows] for name in others}
    columns.update({name: [against(cell, name) for _, cell in rows] for name in AGAINST})
    body = [[label] + [spread(found[i], '{:.2f}'.format) for found in columns.values()]
            for i, (label, _) in enumerate(rows)]
    for i, (_, cell) in enumerate(rows):
        if columns[AGAINST[0]][i]:
            body[i][1 + len(others)] += f' {best_peer(cell)}'
    means = [mean_of(found) for found in columns.values()]
    return table(['over glibc'] + list(columns),
                 body + [[f'**geometric mean of {len(rows)}**'] + means])


def with_units(rows):
    return [(f'{label}, {cell["unit"]}', cell) for label, cell in rows]


# What has a time and a peak: (key in the result, what the headings say).
GROUPS = (('workloads', 'Workloads'), ('programs', 'Real programs'))


def group_text(result, group, title):
    names = result['allocators']
    speed, memory = (rows_of(result, m, group) for m in (RATIO_METRICS, ('peak_rss',)))
    if not speed:
        return []
    return ([f'## {title}: time', ''] + absolute_table(with_units(speed), names)
            + [f'## {title}: time over glibc\'s (below 1 is faster)', '']
            + ratio_table(speed, names)
            + [f'## {title}: peak resident memory, MiB', '']
            + absolute_table(memory, names, scale=1024)
            + [f'## {title}: peak resident memory over glibc\'s', ''] + ratio_table(memory, names))


def workloads_text(result):
    return [line for group, title in GROUPS for line in group_text(result, group, title)]


def summary_row(title, rows, peers):
    ratio_lists = [[against(cell, AGAINST[0]) for _, cell in rows]]
    ratio_lists += [[ratios(cell, OURS, peer) for _, cell in rows] for peer in peers]
    return [f'{title}, {len(rows)} rows'] + [mean_of(found) for found in ratio_lists]


def summary_text(result):
    """Ours over the best peer of each row, and over each peer: what the README quotes."""
    peers, body = [n for n in result['allocators'] if not n.startswith(OURS)], []
    for what, metrics in (('time', RATIO_METRICS), ('memory', ('peak_rss',))):
        groups = [(title, rows_of(result, metrics, group)) for group, title in GROUPS]
        groups.append(('All', [row for _, rows in groups for row in rows]))
        body += [summary_row(f'{title}: {what}', rows, peers) for title, rows in groups if rows]
    header = ['ours over, geometric mean', 'best peer of each row'] + peers
    return (['## Summary (below 1: ours is better)', ''] + table(header, body)
            if body and OURS in result['allocators'] else [])


def scale_rows(result):
    """[(threads, {allocator: [million steps a second, run by run]})]"""
    rows = []
    for label, cell in rows_of(result, ('time',)):
        name, _, threads = label.partition('.')
        if name == 'scale':
            rows.append((int(threads), {n: [1000 / v for v in runs.values()]
                                        for n, runs in cell['values'].items()}))
    return rows


def scale_text(result):
    names = result['allocators']
    body = [[str(threads)] + [spread(found.get(n, ())) for n in names]
            for threads, found in scale_rows(result)]
    return (['## Throughput of all threads together, million steps a second (scale)', '']
            + table(['threads'] + names, body)) if body else []


def redis_text(result):
    rows = [(key.split(' ')[1], cell) for key, cell in result.get('programs', {}).items()
            if key.startswith('redis ') and key.split(' ')[1] not in ('time', 'peak_rss')]
    return (['## redis-server: microseconds a request', '']
            + absolute_table(rows, result['allocators'])) if rows else []


PHASES = ('grown', 'thinned', 'regrown')
KEPT = ('start', 'peak', 'freed', 'after')


def phases_text(result):
    rows = [(label.split(' ')[1], cell) for label, cell in rows_of(result, PHASES)]
    return (['## Fragmentation: resident over live bytes (phases)', '',
             'Grown; 90 % freed at random; grown again with other sizes.', '']
            + absolute_table(rows, result['allocators'])) if rows else []


def after_free_text(result):
    names = result['allocators']
    kept = rows_of(result, ('kept',), 'after_free')
    sizes = rows_of(result, KEPT, 'after_free')
    # Ten seconds, but for --quick.
    return (['## Some time after everything was freed: resident over the start (aim: 1.10)', '']
            + absolute_table(kept, names) + ['In MiB:', '']
            + absolute_table(sizes, names, scale=1024)) if kept else []


def startup_text(result):
    rows = []
    for name, pairs in result['startup'].items():
        if pairs:
            plain, loaded = (statistics.median(p[i] for p in pairs) / 1000 for i in (0, 1))
            quarters = statistics.quantiles([p[1] / p[0] for p in pairs], n=4)
            rows.append([name, f'{plain:.0f}', f'{loaded:.0f}',
                         f'{quarters[1]:.3f} ({quarters[0]:.2f}-{quarters[2]:.2f})',
                         str(len(pairs))])
    header = ['preload', 'without, µs', 'with, µs', 'ratio in pairs (quartiles)', 'pairs']
    return ['## Start and end of /bin/true', ''] + table(header, rows) if rows else []


def interface_text(result):
    rows = [(label.removeprefix('interface.'), cell)
            for label, cell in result.get('interface', {}).items() if not label.endswith('peak_rss')]
    return (['## gcmalloc.h: one call, or one pair of calls', '']
            + absolute_table(with_units(rows), ['gcmalloc'])) if rows else []


def mark_figures(entries):
    """Of the runs of one shape: milliseconds, million objects a second, GB a second."""
    times = [statistics.median(c['total_ms'] for c in e['cycles']) for e in entries]
    objects = [e['objects'] / t / 1e3 for e, t in zip(entries, times)]
    bandwidth = [e['bytes'] / t / 1e6 for e, t in zip(entries, times)]
    return times, objects, bandwidth


def marks_text(result):
    rows = []
    for shape, entries in result['marks'].items():
        times, objects, bandwidth = mark_figures(entries)
        cycles = sum(len(e['cycles']) for e in entries)
        few = entries[0]['objects'] < 100000
        rows.append([shape, f'{entries[0]["objects"]:,.0f}', spread(times),
                     '-' if few else spread(objects), spread(bandwidth), str(cycles)])
    header = ['heap', 'objects', 'full cycle, ms', 'million objects/s', 'GB/s', 'cycles']
    return ['## One full mark', ''] + table(header, rows) if rows else []


def stream_text(result):
    """Marking pointer-free data beside a plain read of the same blocks by one core."""
    rows = []
    for shape, entries in result['marks'].items():
        entries = [e for e in entries if e.get('stream')]
        if entries:
            marked = mark_figures(entries)[2]
            ratio = [m / e['stream'] for m, e in zip(marked, entries)]
            rows.append([shape, spread(marked), spread(e['stream'] for e in entries),
                         spread(ratio, '{:.2f}'.format)])
    return table(['', 'marked, GB/s', 'read, GB/s', 'ratio'], rows) if rows else []


def leak_text(result):
    rows = []
    for name, samples in result['leak'].items():
        if samples:
            resident = [s[2] for s in samples]
            rows.append([name, f'{samples[-1][0]:.0f}', f'{samples[-1][1]:.0f}',
                         f'{resident[0]:.0f}', f'{resident[-1]:.0f}', f'{max(resident):.0f}'])
    header = ['', 'after, s', 'leaked, MB', 'resident at start, MB', 'at the end', 'greatest']
    return ['## A leaking server', ''] + table(header, rows) if rows else []


def heading(about):
    busy = f', load {about["load_at_start"]} at the start' if about['load_at_start'] > 0.5 else ''
    versions = ', '.join(f'{n} {v}' for n, v in sorted(about['versions'].items()) if v)
    return [f'# Benchmarks of {about["date"]}, commit {about["commit"]}'
            + (' with changes' if about['modified'] else ''), '',
            f'{about["cpu"]}, {about["cores"]} cores, {about["memory_gib"]} GiB, '
            f'Linux {about["kernel"]}{busy}. {versions}. '
            f'{"Quick look: " if about["quick"] else ""}{about["runs"]} runs, '
            f'GCMALLOC={about["options"]}. Median (least-greatest).', '']


def markdown(result, pictures):
    import render_gc  # it uses the tables above
    lines = heading(result['about'])
    lines += [f'![{p.rsplit(".", 1)[0].rsplit("-", 1)[1]}]({p})' for p in pictures] + ['']
    for part in (summary_text, workloads_text, redis_text, scale_text, phases_text,
                 after_free_text, startup_text, interface_text, render_gc.text, marks_text,
                 stream_text, leak_text):
        lines += part(result)
    if result['failures']:
        lines += ['## Failed', '']
        lines += [f'- {label}: {why}' for label, why in result['failures']] + ['']
    return '\n'.join(lines)


if __name__ == '__main__':
    with open(sys.argv[1], encoding='utf-8') as source:
        print(markdown(json.load(source), []))
