"""render.py -- turns a result of run.py into figures and Markdown.

    render.py RESULT.json     prints the Markdown again

The statistics live here, since the pictures (plot.py) need the same ones: a median with its least
and greatest, and a ratio that is taken within each run before the median is.
"""

import json
import math
import statistics
import sys

# Metrics that are worth a ratio; the rest (p50, max, build ...) stay in the JSON file.
RATIO_METRICS = ('time', 'p99', 'p99.9')


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


def rows_of(result, metrics):
    """[(label, cell)] of the workload figures with one of these metrics."""
    rows = []
    for key, cell in result['workloads'].items():
        row, metric = key.split(' ')
        if metric in metrics:
            rows.append((row if metric in ('time', 'peak_rss') else f'{row} {metric}', cell))
    return rows


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


def ratio_table(rows, names):
    others = [n for n in names if n != 'glibc']
    body = [[label] + [spread(ratios(cell, n), '{:.2f}'.format) for n in others]
            for label, cell in rows]
    means = []
    for name in others:
        mean = geometric_mean([statistics.median(r) for _, c in rows if (r := ratios(c, name))])
        means.append(f'{mean:.2f}' if mean else '-')
    return table(['over glibc'] + others, body + [['geometric mean'] + means])


def workloads_text(result):
    names = result['allocators']
    speed, memory = rows_of(result, RATIO_METRICS), rows_of(result, ('peak_rss',))
    if not speed:
        return []
    return (['## Time, ns', ''] + absolute_table(speed, names)
            + ['## Time, ratio to glibc (below 1 is faster)', ''] + ratio_table(speed, names)
            + ['## Peak resident memory, MiB', ''] + absolute_table(memory, names, scale=1024)
            + ['## Peak resident memory, ratio to glibc', ''] + ratio_table(memory, names))


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
    for part in (workloads_text, startup_text, render_gc.text, marks_text, stream_text, leak_text):
        lines += part(result)
    if result['failures']:
        lines += ['## Failed', '']
        lines += [f'- {label}: {why}' for label, why in result['failures']] + ['']
    return '\n'.join(lines)


if __name__ == '__main__':
    with open(sys.argv[1], encoding='utf-8') as source:
        print(markdown(json.load(source), []))
