#!/usr/bin/python3
"""run.py -- measures libgcmalloc beside glibc and the allocators that Debian ships.

    run.py [--only REGEX] [--runs N] [--quick] [--build DIR] [--out DIR] [--peers a,b]
           [--options S] [--off]

Seven kinds of measurement:

  workloads  each program of this directory under each allocator. In every run the allocators follow
             one another directly, in an order that turns and reverses from run to run, so that
             what the machine does meanwhile hits all of them; ratios are taken within a run,
             against glibc.
  program.*  real programs, whole (programs.py), in the same way.
  after_free what is still resident ten seconds after everything was freed (after_free.c). Time does
             not matter here, so the allocators run beside one another.
  startup    /bin/true without and with each preload, hundreds of pairs (startup.c).
  marks      time of one full mark of three heaps (mark_nodes.c), from the collector's own gctrace.
  leak       resident memory of a leaking server over time (leak_daemon.c), glibc against us.
  gc.*       the collector itself: stops, leaks, threads, cost, binary trees (collect.py);
             `--only gc` measures this alone, and writes OUT/<date>-<commit>-gc.*

The library runs as users run it, with its default options, but for the report (`report=off`).
--options gives others (`mode=off,report=off`: a plain allocator); --off adds a column for that one.

Figures are medians, with the least and the greatest. Results go to OUT/<date>-<commit>.json, a
Markdown table and SVG pictures beside it; what is not a full run with default options has a name
of its own (-quick, -part, -gc, -OPTIONS) and replaces no full one. Exit status 1 when some program
failed. --quick does everything, with little work and few runs: for a look, not for the record.
"""

import argparse
import concurrent.futures
import datetime
import glob
import json
import os
import platform
import re
import subprocess
import sys

import collect
import programs
import render
from running import Failed, environment, figures, parse_gctrace, run_program

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
LIB_DIRS = ['/usr/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/lib',
            *glob.glob('/usr/lib/llvm-14/lib/clang/*/lib/linux')]
PEERS = {  # name: (file, Debian package)
    'jemalloc': ('libjemalloc.so.2', 'libjemalloc2'),
    'mimalloc': ('libmimalloc.so.2', 'libmimalloc2.0'),
    'tcmalloc': ('libtcmalloc_minimal.so.4', 'libtcmalloc-minimal4'),
    'scudo': ('libclang_rt.scudo_standalone-x86_64.so', 'libclang-rt-14-dev'),
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
    ('malloc_large', 'malloc_large', '', '40'),
    ('cache.thrash.1', 'false_sharing', 'thrash 1', 'thrash 1 50'),
    ('cache.thrash.2', 'false_sharing', 'thrash 2', 'thrash 2 50'),
    ('cache.scratch.1', 'false_sharing', 'scratch 1', 'scratch 1 50'),
    ('cache.scratch.2', 'false_sharing', 'scratch 2', 'scratch 2 50'),
    ('cache.scratch.8', 'false_sharing', 'scratch 8', 'scratch 8 50'),
    ('mstress.2', 'mstress', '2', '2 50 20'),
    ('mstress.8', 'mstress', '8 50 25', '8 50 4'),
    ('rptest.even.2', 'rptest', '2 even 2 24000 1000 100 16 1000',
     '2 even 2 1000 1000 100 16 1000'),
    ('rptest.linear.2', 'rptest', '2', '2 linear 2 500'),
    ('rptest.linear.8', 'rptest', '8 linear 2 3000', '8 linear 2 200'),
    ('rptest.exponential.2', 'rptest', '2 exponential 2 6000 1000 100 128 64000',
     '2 exponential 2 500 1000 100 128 64000'),
    ('sh6.1', 'smartheap', 'sh6 1', 'sh6 1 500'),
    ('sh6.2', 'smartheap', 'sh6 2 5000', 'sh6 2 250'),
    ('sh8.2', 'smartheap', 'sh8 2 4000', 'sh8 2 250'),
    ('sh8.8', 'smartheap', 'sh8 8 1000', 'sh8 8 60'),
    ('glibc.simple.16', 'glibc_simple', '16', '16 200000'),
    ('glibc.simple.128', 'glibc_simple', '128', '128 200000'),
    ('glibc.simple.1024', 'glibc_simple', '1024 2500000', '1024 200000'),
    ('glibc.thread.1', 'glibc_thread', '1', '1 1000000'),
    ('glibc.thread.2', 'glibc_thread', '2', '2 1000000'),
    ('glibc.thread.8', 'glibc_thread', '8', '8 1000000'),
    ('scale.1', 'scale', '1', '1 1000000'),
    ('scale.2', 'scale', '2', '2 1000000'),
    ('scale.8', 'scale', '8', '8 1000000'),
    ('scale.64', 'scale', '64', '64 1000000'),
    ('phases', 'phases', '', '32'),
    ('tail', 'tail', '', '20000 500000'),
]
# What gcmalloc.h costs: under the library alone.
INTERFACE = [
    ('interface.stats.1', 'api_stats', '1 200000', '1 20000'),
    ('interface.stats.8', 'api_stats', '8 200000', '8 20000'),
    ('interface.stats.64', 'api_stats', '64 50000', '64 5000'),
    ('interface.pool.1', 'pool', '1', '1 200000'),
    ('interface.pool.2', 'pool', '2', '2 200000'),
    ('interface.attached', 'finalizers', 'attach', 'attach 20000'),
]
# Started with 64 MiB live, and with next to nothing; `bare` is the hardest: a megabyte counts.
AFTER_FREE = [
    ('after_free.tick', 'tick', 'tick 8192 32 1'),
    ('after_free.idle', 'idle', 'idle 8192 32 1'),
    ('after_free.bare', 'tick 1', 'tick 1 32 1'),
]
# Memory hardly differs from run to run.
AFTER_FREE_RUNS = 3
DEFAULT_OPTIONS = 'report=off'
OFF = 'gcmalloc.off'
# Blocks of 1 MiB are leaked until several cycles have run: with percent=25 about four.
MARK_OPTIONS = 'mode=collect,gctrace=1,percent=25,confirm=1,probation=0,report=off'
MARKS = [('tree', 1024), ('chain', 1024), ('data', 1024)]
MARK_WORKERS = (1, 2)
QUICK_MARK_MIB = 128


# ---- the measurements -------------------------------------------------------------------------

class Bench:
    def __init__(self, args):
        self.args = args
        self.failures = []
        self.allocators = self.find_allocators()

    def find_allocators(self):
        """{name: library or None}, glibc first."""
        found = {'glibc': None}
        ours = os.path.join(ROOT, self.args.build, 'preload', 'libgcmalloc.so')
        if self.preloads('gcmalloc', ours, 'not built'):
            found['gcmalloc'] = ours
            if self.args.off:
                found[OFF] = ours
        for name, (file, package) in PEERS.items():
            if self.args.peers is not None and name not in self.args.peers.split(','):
                continue
            paths = [p for d in LIB_DIRS if os.path.exists(p := os.path.join(d, file))]
            if self.preloads(name, paths[0] if paths else file, f'{package} is not installed'):
                found[name] = paths[0]
        return found

    def preloads(self, name, path, why_not):
        """ld.so goes on without a library that it cannot load, and glibc has the other's name."""
        if not os.path.exists(path):
            self.say(f'{name} is left out: {why_not}')
            return False
        done = self.attempt(f'preloading {name}', ['/bin/true'], path)
        if done and 'cannot be preloaded' in done[1]:
            self.fail(f'preloading {name}', done[1].strip())
        return bool(done) and 'cannot be preloaded' not in done[1]

    @staticmethod
    def say(text):
        print(text, file=sys.stderr, flush=True)

    def wanted(self, key):
        return not self.args.only or re.search(self.args.only, key)

    def program(self, name):
        return os.path.join(ROOT, self.args.build, 'bench', 'bench_' + name)

    def fail(self, label, why):
        """Notes a failure; the same one of a later run is not told again."""
        if not any(label == known for known, _ in self.failures):
            self.say(f'FAILED {label}: {why}')
            self.failures.append((label, str(why)))

    def options_of(self, name):
        return 'mode=off,report=off' if name == OFF else self.args.options

    def attempt(self, label, argv, library, options=None, extra=None):
        """stdout and stderr, or None for a failure."""
        try:
            env = environment(library, options or self.args.options)
            return run_program(argv, dict(env, **(extra or {})))
        except Failed as why:
            self.fail(label, why)
            return None

    def order(self, turn, names=None):
        names = list(names or self.allocators)
        turn_by = turn % len(names)
        names = names[turn_by:] + names[:turn_by]
        return names[::-1] if turn % 2 else names

    @staticmethod
    def keep(table, name, turn, rows):
        """Into {'row metric': {unit, values: {allocator: {run: value}}}}."""
        for (row, metric), (value, unit) in rows.items():
            cell = table.setdefault(f'{row} {metric}', {'unit': unit, 'values': {}})
            cell['values'].setdefault(name, {})[turn] = value

    def workload(self, key, program, arguments, name):
        """The figures of one run; tail has two rows of its own names."""
        done = self.attempt(f'{key} under {name}', [self.program(program)] + arguments.split(),
                            self.allocators[name], self.options_of(name))
        rows = figures(done[0]) if done else {}
        return {(row if program == 'tail' else key, metric): figure
                for (row, metric), figure in rows.items()}

    def run_all(self, title, workloads, names):
        table = {}
        chosen = [w for w in workloads if self.wanted(w[0])]
        for turn in range(self.args.runs if chosen else 0):
            self.say(f'{title}, run {turn + 1} of {self.args.runs}')
            for key, program, full, quick in chosen:
                arguments = quick if self.args.quick else full
                for name in self.order(turn, names):
                    self.keep(table, name, turn, self.workload(key, program, arguments, name))
        return table

    def workloads(self):
        return self.run_all('workloads', WORKLOADS, self.allocators)

    def interface(self):
        names = [n for n in ('gcmalloc',) if n in self.allocators]
        return self.run_all('interface', INTERFACE, names) if names else {}

    def beside(self, key, program, arguments):
        """[(allocator, figures)], all allocators at the same time."""
        names = list(self.allocators)
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            found = pool.map(lambda name: self.workload(key, program, arguments, name), names)
            return list(zip(names, found))

    def after_free(self):
        table = {}
        chosen = [w for w in AFTER_FREE if self.wanted(w[0])]
        runs = min(self.args.runs, AFTER_FREE_RUNS)
        for turn in range(runs if chosen else 0):
            self.say(f'after_free, run {turn + 1} of {runs}')
            for key, full, quick in chosen:
                arguments = quick if self.args.quick else full
                for name, rows in self.beside(key, 'after_free', arguments):
                    self.keep(table, name, turn, rows)
        return table

    def startup_pairs(self, name, count):
        argv = [self.program('startup'), self.allocators[name], str(count), '/bin/true']
        done = self.attempt(f'startup under {name}', argv, None,
                            extra={'GCMALLOC': self.options_of(name)})
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
                    pairs[name] += self.startup_pairs(name, count)
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
            self.fail(f'mark {shape}', 'no gctrace line of a full cycle')
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
        return {'workloads': self.workloads(), 'programs': programs.Programs(self).all(),
                'after_free': self.after_free(), 'startup': self.startup(),
                'interface': self.interface(),
                'marks': self.marks(), 'leak': self.leak(), 'gc': collect.Collect(self).all(),
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
            'kernel': '.'.join(platform.release().split('.')[:2]),
            'load_at_start': round(os.getloadavg()[0], 2),
            'runs': args.runs, 'quick': args.quick, 'options': args.options, 'versions': versions}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', help='regular expression: pair.64, program, program.redis, '
                        'after_free, startup, marks, leak, gc, gc.pause, ...')
    parser.add_argument('--runs', type=int,
                        help='default 7, of gc.* and marks 3; 3 and 1 with --quick')
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--build', default='build', help='build directory, from the repository')
    parser.add_argument('--out', default=os.path.join(HERE, 'results'))
    parser.add_argument('--peers', help=f'which of {",".join(PEERS)}; "" = none')
    parser.add_argument('--options', default=DEFAULT_OPTIONS,
                        help='GCMALLOC of workloads, programs, after_free and leak')
    parser.add_argument('--off', action='store_true',
                        help=f'a column {OFF} beside it: mode=off,report=off')
    parser.add_argument('--barriers', default='', help='back ends of which gc.pause and gc.leaks '
                        'have a row besides the automatic one: uffd,mprotect,full')
    args = parser.parse_args()
    args.gc_runs = args.runs or (1 if args.quick else 3)
    args.runs = args.runs or (3 if args.quick else 7)
    return args


def stem_of(args, about):
    """Date and commit name a full run with default options; others say what they are, too."""
    parts = [about['date'], about['commit']]
    if args.only:
        parts.append('gc' if args.only.startswith('gc') else 'part')
    if args.quick:
        parts.append('quick')
    if args.options != DEFAULT_OPTIONS:
        parts.append(re.sub(r'\W+', '-', args.options))
    return os.path.join(args.out, '-'.join(parts))


def laid_out(value, depth):
    """JSON in which each row (what lies `depth` levels down) has a line."""
    if depth == 0 or not isinstance(value, dict) or not value:
        return json.dumps(value, separators=(',', ':'))
    rows = [f'{json.dumps(str(key))}: {laid_out(below, depth - 1)}' for key, below in value.items()]
    return '{\n' + ',\n'.join(rows) + '\n}'


def main():
    args = arguments()
    bench = Bench(args)
    result = {'about': circumstances(args, bench.allocators), 'allocators': list(bench.allocators)}
    load = result['about']['load_at_start']
    if load > 0.5:
        bench.say(f'the machine is busy (load {load}): figures will be noisy')
    result.update(bench.all())
    os.makedirs(args.out, exist_ok=True)
    stem = stem_of(args, result['about'])
    # Rendered from what is kept, as plot.py does.
    text = '{\n' + ',\n'.join(f'"{key}": {laid_out(value, 2 if key == "gc" else 1)}'
                              for key, value in result.items()) + '\n}\n'
    with open(stem + '.json', 'w', encoding='utf-8') as file:
        file.write(text)
    pictures = output_of('/usr/bin/python3', os.path.join(HERE, 'plot.py'), stem + '.json').split()
    text = render.markdown(json.loads(text), [os.path.basename(p) for p in pictures])
    with open(stem + '.md', 'w', encoding='utf-8') as file:
        file.write(text)
    print(text)
    return 1 if bench.failures else 0


if __name__ == '__main__':
    sys.exit(main())
