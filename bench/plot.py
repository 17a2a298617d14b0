"""plot.py -- the pictures of a result: speed and memory of workloads and programs, throughput by
threads, memory kept, start-up, the leaking server, and stops.

    plot.py RESULT.json      writes RESULT-speed.svg ... beside it and prints their names

Needs python3-matplotlib; without it there are no pictures, and that is all.
"""

import json
import os
import statistics
import sys

import render

COLOURS = {'glibc': '#8c8c8c', 'gcmalloc': '#c0392b', 'jemalloc': '#2c7fb8', 'mimalloc': '#41ab5d',
           'tcmalloc': '#e6a532', 'scudo': '#8856a7', 'gcmalloc.off': '#e08e79',
           'tight': '#c0392b', 'defaults': '#e08e79', 'boehm': '#41ab5d',
           'go': '#2c7fb8'}
LABELS = {'tight': 'gcmalloc, percent=15', 'tight.exact': 'gcmalloc, percent=15, past_end=0',
          'defaults': 'gcmalloc, defaults', 'boehm': 'Boehm', 'go': 'Go, GOGC=20'}


def load_pyplot():
    try:
        import matplotlib
    except ImportError:
        print('plot.py: no pictures without python3-matplotlib', file=sys.stderr)
        sys.exit(0)
    matplotlib.use('svg')
    # The same data gives the same file.
    matplotlib.rcParams.update({'svg.hashsalt': 'libgcmalloc', 'svg.fonttype': 'none',
                                'font.size': 9, 'axes.spines.top': False,
                                'axes.spines.right': False})
    from matplotlib import pyplot
    return pyplot


def save(pyplot, figure, path):
    figure.tight_layout()
    figure.savefig(path, metadata={'Date': None})
    pyplot.close(figure)
    print(path)


# A ratio beyond is cut off: one bad row would make all others too short to compare.
CUT = 4


def bars(pyplot, path, title, rows, names, values=render.ratios, line=1, cut=CUT):
    """Groups of horizontal bars, one group a workload: the ratio to glibc, with its spread.
    `values` may be another function of (cell, name), `line` where a line is drawn."""
    if not rows or not names:
        return
    height = 0.8 / len(names)
    figure, axes = pyplot.subplots(figsize=(7, 1 + 0.1 * len(rows) * (len(names) + 1)))
    for k, name in enumerate(names):
        found = [(i, render.summary(values(cell, name))) for i, (_, cell) in enumerate(rows)]
        found = [(i, s) for i, s in found if s]
        middle = [s[0] for _, s in found]
        errors = [[s[0] - s[1] for _, s in found], [s[2] - s[0] for _, s in found]]
        axes.barh([i + k * height for i, _ in found], middle, height, xerr=errors, label=name,
                  color=COLOURS.get(name), error_kw={'lw': 0.7})
    axes.axvline(line, color=COLOURS['glibc'], lw=1)
    axes.set_yticks([i + 0.4 - height / 2 for i in range(len(rows))], [label for label, _ in rows])
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlim(0, min(axes.get_xlim()[1], cut))
    axes.set_title(title, loc='left')
    axes.legend(frameon=False, loc='upper left', bbox_to_anchor=(1, 1))
    save(pyplot, figure, path)


def scale_lines(pyplot, path, rows):
    """Median and extremes; past the number of cores level is as good as it gets."""
    if len(rows) < 2:
        return
    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for name in rows[0][1]:
        found = [(threads, render.summary(runs[name])) for threads, runs in rows if runs.get(name)]
        middle = [s[0] for _, s in found]
        errors = [[s[0] - s[1] for _, s in found], [s[2] - s[0] for _, s in found]]
        axes.errorbar([threads for threads, _ in found], middle, errors, label=name, marker='o',
                      ms=3, capsize=2, color=COLOURS.get(name))
    threads = [threads for threads, _ in rows]
    axes.set(xscale='log', xlabel='threads', ylabel='million steps a second')
    axes.set_xticks(threads, [str(n) for n in threads])
    axes.set_xticks([], minor=True)
    axes.set_ylim(bottom=0)
    axes.set_title('Throughput of all threads together', loc='left')
    axes.legend(frameon=False)
    save(pyplot, figure, path)


def startup_bars(pyplot, path, startup):
    found = {name: statistics.median(p[1] / p[0] for p in pairs)
             for name, pairs in startup.items() if pairs}
    if not found:
        return
    figure, axes = pyplot.subplots(figsize=(7, 0.8 + 0.3 * len(found)))
    axes.barh(list(found), list(found.values()), color=[COLOURS.get(n) for n in found])
    axes.axvline(1, color=COLOURS['glibc'], lw=1)
    axes.invert_yaxis()
    axes.set_title('Start and end of /bin/true, time over no preload', loc='left')
    save(pyplot, figure, path)


def leak_lines(pyplot, path, series):
    if not any(series.values()):
        return
    figure, axes = pyplot.subplots(figsize=(7, 3.2))
    for name, samples in series.items():
        axes.plot([s[0] for s in samples], [s[2] for s in samples], label=name,
                  color=COLOURS.get(name))
    axes.set_xlabel('seconds')
    axes.set_ylabel('resident, MB')
    axes.set_ylim(bottom=0)
    axes.set_title('A server that leaks 50 MB each second', loc='left')
    axes.legend(frameon=False)
    save(pyplot, figure, path)


def survival(counts):
    """[(value, part of all that is greater or equal)] of {value: count}."""
    points, left, total = [], sum(counts.values()), sum(counts.values())
    for value, count in sorted((float(v), n) for v, n in counts.items()):
        points.append((value, left / total))
        left -= count
    return points


def survival_lines(axes, title, unit, found):
    for name, counts in found.items():
        points = survival(counts)
        axes.step([p[0] for p in points], [p[1] for p in points], where='post',
                  label=LABELS.get(name, name), color=COLOURS.get(name))
    axes.set(xscale='log', yscale='log', xlabel=unit, title=title)
    axes.legend(frameon=False)


def pause_lines(pyplot, path, gc):
    """Both axes logarithmic: the right end of a line is the worst there was."""
    heartbeat = {name: {float(ns) / 1e6: n for ns, n in counts.items()} for name, counts
                 in gc.get('histograms', {}).get('pause.heartbeat', {}).items()}
    stops = {}
    for name, runs in gc.get('stops', {}).get('pause', {}).items():
        for stop in (stop for run in runs for stop in run):
            counts = stops.setdefault(name, {})
            counts[max(stop, 1e-3)] = counts.get(max(stop, 1e-3), 0) + 1
    if not heartbeat:
        return
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6))
    survival_lines(left, 'Lateness of a 1 ms heartbeat', 'ms', heartbeat)
    survival_lines(right, 'Stops of the world (gctrace)', 'ms', stops)
    left.set_ylabel('part of all that took as long')
    save(pyplot, figure, path)


def heap_lines(pyplot, path, series):
    if not series:
        return
    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for name in [n for n in series if n != 'tight.exact']:
        axes.plot([s[0] for s in series[name]], [s[2] for s in series[name]],
                  label=LABELS.get(name, name), color=COLOURS.get(name))
    axes.set(xlabel='seconds', ylabel='resident, MB')
    axes.set_ylim(bottom=0)
    axes.set_title('100 MB lost each second beside a live heap', loc='left')
    axes.legend(frameon=False)
    save(pyplot, figure, path)


def main():
    path = sys.argv[1]
    with open(path, encoding='utf-8') as source:
        result = json.load(source)
    pyplot, stem = load_pyplot(), os.path.splitext(path)[0]
    names = [n for n in result['allocators'] if n != 'glibc']
    bars(pyplot, stem + '-speed.svg', 'Time over glibc (shorter is faster)',
         render.rows_of(result, render.RATIO_METRICS), names)
    bars(pyplot, stem + '-memory.svg', 'Peak resident memory over glibc',
         render.rows_of(result, ('peak_rss',)), names)
    bars(pyplot, stem + '-programs.svg', 'Real programs: time over glibc (shorter is faster)',
         render.rows_of(result, render.RATIO_METRICS, 'programs'), names)
    bars(pyplot, stem + '-programs_memory.svg', 'Real programs: peak resident memory over glibc',
         render.rows_of(result, ('peak_rss',), 'programs'), names)
    scale_lines(pyplot, stem + '-threads.svg', render.scale_rows(result))
    # The row that starts with next to nothing would need an axis of its own: it is in the table.
    bars(pyplot, stem + '-kept.svg', 'Resident after everything was freed, over the start',
         [row for row in render.rows_of(result, ('kept',), 'after_free') if 'bare' not in row[0]],
         result['allocators'], values=lambda cell, name: cell['values'].get(name, {}).values(),
         line=1.1, cut=20)
    startup_bars(pyplot, stem + '-startup.svg', result['startup'])
    leak_lines(pyplot, stem + '-leak.svg', result['leak'])
    gc = result.get('gc', {})
    pause_lines(pyplot, stem + '-pauses.svg', gc)
    heap_lines(pyplot, stem + '-heap.svg', gc.get('series', {}).get('leaks'))


main()
