"""collect.py -- measures the collector itself, beside glibc without one, Boehm's and Go's.

run.py's group `gc`. Each item below is a program under several runtimes, which follow one another
in every run in an order that turns and reverses, like run.py's workloads; ratios are taken within
a run.

  gc.pause     stops, and how late a heartbeat is: 1 GiB live, 100 MB/s written, 100 MB/s lost
  gc.spin      the same, the mutator reading the clock all the time: stops without anyone's word
  gc.leaks     100 MB/s lost beside 1 GiB live: rate and resident memory; the same, freed
  gc.sleepers  stops beside 0, 100 and 1,000 sleeping threads and 2 and 8 running ones
  gc.cost      a program that frees, and one that leaks: the collector on against mode=off;
               a million finalizers
  gc.trees     binary trees of depth 20 without a free
  gc.marks     run.py's marks

A runtime is how a program is run: (program's prefix, preload, GCMALLOC, more of the environment).
boehm.so and the Go programs are built by scripts/bench; what is not there is left out.
"""

import os

from running import figures, measured_cycles, stops_ms

# Reclaim what the last cycle found: what the other collectors do.
AT_ONCE = 'report=off,gctrace=1,confirm=1,probation=0'
# A collection for each fifth of the live heap: cycles enough to speak of a distribution.
OFTEN = 20
# Room for 1,300 MB beside 1 GiB live.
TIGHT = 15

# What a program measures besides itself: `pause.heartbeat p99.9`.
PARTS = ('heartbeat', 'gap', 'tick')

# (item, row, program, arguments, arguments with --quick, runtimes)
ITEMS = [
    ('gc.pause', 'pause', 'pause', '15 1024 100 100 sleep', '2 64 100 100 sleep',
     'glibc gcmalloc barriers boehm go'),
    ('gc.spin', 'spin', 'pause', '15 1024 100 100 spin', '2 64 100 100 spin',
     'glibc gcmalloc go'),
    ('gc.leaks', 'leaks', 'leaks', '20 1024 100 lose -', '2 64 100 lose -',
     'glibc tight tight.exact barriers defaults boehm go'),
    ('gc.leaks', 'frees', 'leaks', '20 1024 100 free -', '2 64 100 free -',
     'glibc tight tight.exact defaults'),
    ('gc.sleepers', 'threads.0', 'sleepers', '0 0 64', '0 0 16 64', 'small'),
    ('gc.sleepers', 'threads.100', 'sleepers', '100 0 64', '100 0 16 64', 'small'),
    ('gc.sleepers', 'threads.1000', 'sleepers', '1000 0 64', '1000 0 16 64', 'small'),
    ('gc.sleepers', 'threads.run2', 'sleepers', '0 2 64', '0 2 16 64', 'small'),
    ('gc.sleepers', 'threads.run8', 'sleepers', '0 8 64', '0 8 16 64', 'small'),
    ('gc.cost', 'cost.replace', 'replace', '', '1000 16 1024 1000000', 'off on'),
    ('gc.cost', 'cost.larson', 'larson', '2', '2 5000 8 1000 50000 4', 'off on'),
    ('gc.cost', 'cost.churn', 'churn', '5000000 1024', '200000 64', 'off on'),
    ('gc.cost', 'cost.leaking', 'churn', '1000000 1024 100', '200000 64 100',
     'glibc off on on.at_once'),
    ('gc.cost', 'finalizers.called', 'finalizers', 'called 1000000', 'called 50000', 'on.at_once'),
    ('gc.trees', 'trees', 'binary_trees', '20', '14',
     'trees trees.exact boehm.default go.default'),
    ('gc.trees', 'trees.freed', 'binary_trees', '20 free', '14 free', 'glibc off'),
]


class Collect:
    def __init__(self, bench):
        self.bench, self.args = bench, bench.args
        self.folder = os.path.dirname(bench.program(''))
        self.result = {'cells': {}, 'stops': {}, 'histograms': {}, 'series': {}, 'options': {}}
        self.runtimes = {}
        if any(bench.wanted(item[0]) for item in ITEMS):
            self.runtimes = self.find_runtimes()

    def find_runtimes(self):
        found = {'glibc': ('bench_', None, '', {})}
        found.update(self.our_runtimes())
        boehm = os.path.join(self.folder, 'boehm.so')
        if os.path.exists(boehm):
            for name in ('boehm', 'boehm.default'):
                found[name] = ('bench_', None, '', {'LD_PRELOAD': boehm, 'BOEHM_GCTRACE': '1'})
        else:
            self.bench.say('Boehm is left out: scripts/bench builds the shim')
        if os.path.exists(os.path.join(self.folder, 'go_pause')):
            found['go'] = ('go_', None, '', {'GOGC': str(OFTEN), 'GODEBUG': 'gctrace=1'})
            found['go.default'] = ('go_', None, '', {'GODEBUG': 'gctrace=1'})
        else:
            self.bench.say('Go is left out: scripts/bench builds its programs')
        return found

    def our_runtimes(self):
        library = self.bench.allocators.get('gcmalloc')
        if not library:
            return {}
        # gctrace in each, so that one run can tell how many cycles its figures are of.
        options = {'gcmalloc': f'{AT_ONCE},percent={OFTEN}',
                   'tight': f'{AT_ONCE},percent={TIGHT}',
                   'tight.exact': f'{AT_ONCE},percent={TIGHT},past_end=0',
                   'defaults': 'report=off,gctrace=1',
                   'small': f'{AT_ONCE},percent=25,min_heap=8M',
                   'off': 'mode=off,report=off', 'on': 'report=off,gctrace=1',
                   'on.at_once': AT_ONCE,
                   'trees': AT_ONCE, 'trees.exact': f'{AT_ONCE},past_end=0'}
        for barrier in filter(None, self.args.barriers.split(',')):
            options[f'gcmalloc.{barrier}'] = f'{AT_ONCE},percent={OFTEN},barrier={barrier}'
            options[f'tight.{barrier}'] = f'{AT_ONCE},percent={TIGHT},barrier={barrier}'
        self.result['options'] = options
        return {name: ('bench_', library, text, {}) for name, text in options.items()}

    def chosen_runtimes(self, words, item):
        """The names of an item's runtimes that are there; `barriers` stands for one each."""
        base = 'tight' if item == 'gc.leaks' else 'gcmalloc'
        barriers = [f'{base}.{b}' for b in self.args.barriers.split(',') if b]
        names = []
        for word in words.split():
            names += barriers if word == 'barriers' else [word]
        return [name for name in names if name in self.runtimes]

    def keep(self, row, name, turn, out, err):
        result, cycles = self.result, measured_cycles(err)
        for (part, metric), (value, unit) in figures(out).items():
            suffix = part.split('.')[-1]
            label = f'{row}.{suffix}' if suffix in PARTS else row
            cell = result['cells'].setdefault(f'{label} {metric}', {'unit': unit, 'values': {}})
            cell['values'].setdefault(name, {})[turn] = value
        stops = result['stops'].setdefault(row, {}).setdefault(name, [])
        stops.append(stops_ms(cycles))
        self.keep_histograms(row, name, out)
        series = [[float(x) for x in line.split(',')] for line in out.splitlines()
                  if line.count(',') == 2 and line[0].isdigit()]
        if series:
            result['series'].setdefault(row, {}).setdefault(name, series)

    def keep_histograms(self, row, name, out):
        """All runs in one: {heartbeat or gap: {nanoseconds: count}}"""
        for words in map(str.split, out.splitlines()):
            if words and words[0] == 'histogram':
                which = self.result['histograms'].setdefault(f'{row}.{words[1].split(".")[1]}', {})
                counts = which.setdefault(name, {})
                counts[words[2]] = counts.get(words[2], 0) + int(words[3])

    def measure(self, item, turn):
        key, row, program, full, quick, words = item
        names = self.chosen_runtimes(words, key)
        for name in self.bench.order(turn, names) if names else ():
            prefix, library, options, extra = self.runtimes[name]
            argv = [os.path.join(self.folder, prefix + program)]
            argv += (quick if self.args.quick else full).split()
            done = self.bench.attempt(f'{row} under {name}', argv, library, options, extra)
            if done:
                self.keep(row, name, turn, *done)

    def all(self):
        chosen = [item for item in ITEMS if self.bench.wanted(item[0])]
        for turn in range(self.args.gc_runs if chosen else 0):
            for item in chosen:
                self.bench.say(f'{item[1]}, run {turn + 1} of {self.args.gc_runs}')
                self.measure(item, turn)
        return self.result
