#!/usr/bin/python3
"""run.py -- measures libgcmalloc beside glibc and the allocators that Debian ships.

    run.py [--only REGEX] [--runs N] [--quick] [--build DIR] [--out DIR] [--peers a,b] [--options S]

Five kinds of measurement:

  workloads  each program of this directory under each allocator. In every run the allocators follow
             one another directly, in an order that turns and reverses from run to run, so that
             what the machine does meanwhile hits all of them; ratios are taken within a run,
             against glibc.
  startup    /bin/true without and with each preload, hundreds of pairs (startup.c).
  marks      time of one full mark of three heaps (mark_nodes.c), from the collector's own gctrace.
  leak       resident memory of a leaking server over time (leak_daemon.c), glibc against us.
  gc.*       the collector itself: stops, leaks, threads, cost, binary trees (collect.py);
             `--only gc` measures this alone, and writes OUT/<date>-<commit>-gc.*

Figures are medians, with the least and the greatest. Results go to OUT/<date>-<commit>.json, a
Markdown table and SVG pictures beside it. Exit status 1 when some program failed. --quick does
everything, with little work and few runs: for a look, not for the record.
"""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys

import collect
import render
from running import Failed, environment, figures, parse_gctrace, run_program

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
LIB_DIRS = ['/usr/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/lib']
PEERS = {  # name: (file, Debian package)
    'jemalloc': ('libjemalloc.so.2', 'libjemalloc2'),
    'mimalloc': ('libmimalloc.so.2', 'libmimalloc2.0'),
    'tcmalloc': ('libtcmalloc_minimal.so.4', 'libtcmalloc-minimal4'),
}

# What is run: (key, program, arguments, arguments with --quick).
WORKLOADS = [
    ('pair.16', 'pair', '16', '16 2000000'),
    ('pair.64', 'pair', '64', '64 2000000'),
    ('pair.256', 'pair', '256', '256 2000000'),
    ('pair.1024', 'pair', '1024', '1024 2000000'),
    ('replace', 'replace', '', '1000 16 1024 1000000'),
    ('batch.lifo', 'batch', 'lifo', 'lifo 20000 48 20'),
    ('batch.fifo', 'batch', 'fifo', 'fifo 20000 48 20'),
    ('batch.random', 'batch', 'random', 'random 20000 48 20'),
    ('larson.1', 'larson', '1', '1 5000 8 1000 50000 4'),
    ('larson.2', 'larson', '2', '2 5000 8 1000 50000 4'),
    ('larson.8', 'larson', '8 5000 8 1000 62500 10', '8 5000 8 1000 12500 4'),
    ('xmalloc.1.64', 'xmalloc', '1 64', '1 64 4000'),
    ('xmalloc.1.random', 'xmalloc', '1 1', '1 1 4000'),
    ('xmalloc.4.64', 'xmalloc', '4 64 10000', '4 64 1000'),
    ('large', 'large', '', '64'),
    ('tail', 'tail', '', '20000 500000'),
]
# Blocks of 1 MiB are leaked until several cycles have run: with percent=25 about four.
MARK_OPTIONS = 'mode=collect,gctrace=1,percent=25,confirm=1,probation=0,report=off'
MARKS = [('tree', 1024), ('chain', 1024), ('data', 1024)]
MARK_WORKERS = (1, 2)
QUICK_MARK_MIB = 128


# ---- the four measurements ---------------------------------------------------------------------

class Bench:
    def __init__(self, args):
        self.args = args
        self.failures = []
        self.allocators = self.find_allocators()

    def find_allocators(self):
        """{name: library or None}, glibc first."""
        found = {'glibc': None}
        ours = os.path.join(ROOT, self.args.build, 'preload', 'libgcmalloc.so')
        if os.path.exists(ours):
            found['gcmalloc'] = ours
        else:
            self.say(f'{os.path.relpath(ours, ROOT)} is not there: measuring the others')
        for name, (file, package) in PEERS.items():
            if self.args.peers is not None and name not in self.args.peers.split(','):
                continue
            paths = [p for d in LIB_DIRS if os.path.exists(p := os.path.join(d, file))]
            if paths:
                found[name] = paths[0]
            else:
                self.say(f'{name} is left out: {package} is not installed')
        return found

    @staticmethod
    def say(text):
        print(text, file=sys.stderr, flush=True)

    def wanted(self, key):
        return not self.args.only or re.search(self.args.only, key)

    def program(self, name):
        return os.path.join(ROOT, self.args.build, 'bench', 'bench_' + name)

    def attempt(self, label, argv, library, options=None, extra=None):
        """stdout and stderr; a failure is noted, and told once for each label."""
        try:
            env = environment(library, options or self.args.options)
            return run_program(argv, dict(env, **(extra or {})))
        except Failed as why:
            if not any(label == known for known, _ in self.failures):
                self.say(f'FAILED {label}: {why}')
                self.failures.append((label, str(why)))
            return None

    def order(self, turn, names=None):
        names = list(names or self.allocators)
        turn_by = turn % len(names)
        names = names[turn_by:] + names[:turn_by]
        return names[::-1] if turn % 2 else names

    def workload(self, table, key, program, arguments, turn):
        for name in self.order(turn):
            done = self.attempt(f'{key} under {name}', [self.program(program)] + arguments.split(),
                                self.allocators[name])
            for (row, metric), (value, unit) in figures(done[0]).items() if done else ():
                label = row if program == 'tail' else key
                cell = table.setdefault(f'{label} {metric}', {'unit': unit, 'values': {}})
                cell['values'].setdefault(name, {})[turn] = value

    def workloads(self):
        """{'row metric': {unit, values: {allocator: {run: value}}}}"""
        table = {}
        chosen = [w for w in WORKLOADS if self.wanted(w[0])]
        for turn in range(self.args.runs if chosen else 0):
            self.say(f'workloads, run {turn + 1} of {self.args.runs}')
            for key, program, full, quick in chosen:
                self.workload(table, key, program, quick if self.args.quick else full, turn)
        return table

    def startup_pairs(self, library, count):
        done = self.attempt(f'startup with {os.path.basename(library)}',
                            [self.program('startup'), library, str(count), '/bin/true'], None)
        lines = done[0].splitlines() if done else []
        return [tuple(int(word) for word in line.split()[1:]) for line in lines]

    def startup(self):
        """{allocator: [(plain ns, preloaded ns)]}, in rounds: no one gets the quiet minute."""
        pairs = {name: [] for name, library in self.allocators.items() if library}
        if not self.wanted('startup'):
            return {}
        self.say('startup')
        for turn in range(self.args.runs):
            for name in self.order(turn):
                if self.allocators[name]:
                    count = 20 if self.args.quick else 100
                    pairs[name] += self.startup_pairs(self.allocators[name], count)
        return pairs

    def known_options(self):
        """The names of GCMALLOC's options: `workers` and `barrier` came later than the rest."""
        if 'gcmalloc' not in self.allocators:
            return []
        done = self.attempt('help', ['/bin/true'], self.allocators['gcmalloc'], 'help=1')
        return [line.split()[0] for line in done[1].splitlines() if line.split()] if done else []

    def mark(self, shape, mib, options):
        """The cycles of one run that began after the heap was built, and its number of objects."""
        argv = [self.program('mark_nodes'), shape, str(mib), str(mib)]
        done = self.attempt(f'mark {shape}', argv, self.allocators['gcmalloc'], options)
        if not done:
            return None
        lines = done[1].splitlines()
        start = next((i for i, line in enumerate(lines) if line.startswith('built ')), len(lines))
        cycles = [parse_gctrace(line) for line in lines[start:]]
        # A cycle that saw less than the heap was none of ours; `MB` in gctrace are MiB.
        cycles = [c for c in cycles if c and c['live_mb'] >= 0.9 * mib]
        rows = figures(done[0])
        objects = rows[f'mark.{shape}', 'objects'][0]
        if not cycles:
            self.failures.append((f'mark {shape}', 'no gctrace line of a full cycle'))
            self.say(f'FAILED mark {shape}: no gctrace line of a full cycle')
        return {'objects': objects, 'bytes': mib << 20, 'cycles': cycles,
                'stream': rows.get((f'mark.{shape}', 'stream'), (None,))[0]}

    def marks(self):
        """{shape: [one entry a run]}; `shape workers=N` where the library knows workers."""
        wanted = self.wanted('marks') or self.wanted('gc.marks')
        if 'gcmalloc' not in self.allocators or not wanted:
            return {}
        found, variants = {}, {'': MARK_OPTIONS}
        if 'workers' in self.known_options():
            variants = {f' workers={n}': f'{MARK_OPTIONS},workers={n}' for n in MARK_WORKERS}
        for turn in range(self.args.gc_runs):
            self.say(f'marks, run {turn + 1} of {self.args.gc_runs}')
            for shape, mib in MARKS:
                for variant in self.order(turn, variants):
                    entry = self.mark(shape, QUICK_MARK_MIB if self.args.quick else mib,
                                      variants[variant])
                    if entry and entry['cycles']:
                        found.setdefault(shape + variant, []).append(entry)
        return found

    def leak(self):
        """{allocator: [[s, leaked MB, resident MB]]}"""
        series = {}
        for name in ('glibc', 'gcmalloc'):
            if name not in self.allocators or not self.wanted('leak'):
                continue
            self.say(f'leak under {name}')
            seconds = '3' if self.args.quick else '20'
            argv = [self.program('leak_daemon'), '50', '50', seconds]
            done = self.attempt(f'leak under {name}', argv, self.allocators[name])
            lines = [line.split() for line in done[0].splitlines()] if done else []
            series[name] = [[float(w[1]), float(w[4]), float(w[7])] for w in lines
                            if w and w[0] == 'sample']
        return series

    def all(self):
        return {'workloads': self.workloads(), 'startup': self.startup(), 'marks': self.marks(),
                'leak': self.leak(), 'gc': collect.Collect(self).all(),
                'failures': self.failures}


# ---- where and what --------------------------------------------------------------------------

def output_of(*argv):
    try:
        return subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              check=False).stdout.decode().strip()
    except OSError:
        return ''


def cpu_model():
    with open('/proc/cpuinfo', encoding='utf-8') as lines:
        return next((l.split(':')[1].strip() for l in lines if l.startswith('model name')), '?')


def circumstances(args, allocators):
    pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    versions = {name: output_of('dpkg-query', '-W', '-f', '${Version}', PEERS[name][1])
                for name in allocators if name in PEERS}
    versions['glibc'] = platform.libc_ver()[1]
    return {'date': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d'),
            'commit': output_of('git', 'rev-parse', '--short', 'HEAD') or 'unknown',
            'modified': bool(output_of('git', 'status', '--porcelain', '--', 'src', 'preload')),
            'cpu': cpu_model(), 'cores': os.cpu_count(), 'memory_gib': round(pages / 2**30, 1),
            'kernel': '.'.join(platform.release().split('.')[:2]), 'load_at_start': round(os.getloadavg()[0], 2),
            'runs': args.runs, 'quick': args.quick, 'options': args.options, 'versions': versions}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', help='regular expression: pair.64, startup, marks, leak, '
                        'gc, gc.pause, ...')
    parser.add_argument('--runs', type=int,
                        help='default 7, of gc.* and marks 3; 3 and 1 with --quick')
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--build', default='build', help='build directory, from the repository')
    parser.add_argument('--out', default=os.path.join(HERE, 'results'))
    parser.add_argument('--peers', help='which of jemalloc,mimalloc,tcmalloc; "" = none')
    parser.add_argument('--options', default='report=off', help='GCMALLOC of workloads and leak')
    parser.add_argument('--barriers', default='', help='back ends of which gc.pause and gc.leaks '
                        'have a row besides the automatic one: uffd,mprotect,full')
    args = parser.parse_args()
    args.gc_runs = args.runs or (1 if args.quick else 3)
    args.runs = args.runs or (3 if args.quick else 7)
    return args


def main():
    args = arguments()
    bench = Bench(args)
    result = {'about': circumstances(args, bench.allocators), 'allocators': list(bench.allocators)}
    load = result['about']['load_at_start']
    if load > 0.5:
        bench.say(f'the machine is busy (load {load}): figures will be noisy')
    result.update(bench.all())
    os.makedirs(args.out, exist_ok=True)
    alone = '-gc' if args.only and args.only.startswith('gc') else ''
    stem = f'{result["about"]["date"]}-{result["about"]["commit"]}{alone}'
    stem = os.path.join(args.out, stem)
    with open(stem + '.json', 'w', encoding='utf-8') as file:
        json.dump(result, file, indent=1)
    pictures = output_of('/usr/bin/python3', os.path.join(HERE, 'plot.py'), stem + '.json').split()
    text = render.markdown(result, [os.path.basename(p) for p in pictures])
    with open(stem + '.md', 'w', encoding='utf-8') as file:
        file.write(text)
    print(text)
    return 1 if bench.failures else 0


if __name__ == '__main__':
    sys.exit(main())
