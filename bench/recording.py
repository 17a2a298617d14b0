"""recording.py [--build DIR] [--runs N] [--out FILE] -- what does it cost to record who allocated,
and to tell it?

The same programs plain, under the library without stacks, with sampled ones (the default) and with
all, and under LeakSanitizer (preloaded) and heaptrack. Processor time (user and system) of the whole
process, children included, the least of N runs in an order that turns: on a busy machine the clock
tells about others. Ratios are to the program without any library. Reports go nowhere.

Which question it answers: is the default cheap enough to be always on (the aim is 1 %), and is a
stack for each block cheaper here than where people go for it today? And is a profile
of 10 million allocations (sites.c) told in less than 10 s, in each form?
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
LSAN = '/usr/lib/x86_64-linux-gnu/liblsan.so.0'

PYTHON = '''
import json
d = [{"a": i, "b": str(i) * 3, "c": [i] * 5} for i in range(20000)]
for _ in range(6):
    d = json.loads(json.dumps(d))
'''
PERL = 'my %h; for my $i (1..600000) { $h{$i % 50000} = join(",", $i, $i + 1) . "x" x ($i % 60); }'

PROGRAMS = [
    ('python3 json (PYTHONMALLOC=malloc)', ['/usr/bin/python3', '-c', PYTHON], {'PYTHONMALLOC': 'malloc'}),
    ('perl hash of strings', ['/usr/bin/perl', '-e', PERL], {}),
    ('sqlite3 index', ['/usr/bin/sqlite3', ':memory:',
                       'create table t(a, b); with recursive n(i) as (select 1 union all select i + 1 from n '
                       'where i < 200000) insert into t select i, hex(i * 7919) from n; '
                       'create index x on t(b); select count(*) from t where b > "5";'], {}),
]


def runtimes(build, scratch):
    library = os.path.abspath(os.path.join(build, 'preload', 'libgcmalloc.so'))

    def ours(stacks):
        return [], {'LD_PRELOAD': library, 'GCMALLOC': f'stacks={stacks},report=/dev/null'}

    found = [('none', ([], {})), ('stacks=none', ours('none')), ('stacks=sampled', ours('sampled')),
             ('stacks=all', ours('all'))]
    if os.path.exists(LSAN):
        found.append(('LeakSanitizer', ([], {'LD_PRELOAD': LSAN, 'LSAN_OPTIONS':
                                             'exitcode=0:log_path=/dev/null'})))
    if shutil.which('heaptrack'):
        found.append(('heaptrack', (['heaptrack', '-o', os.path.join(scratch, 'trace')], {})))
    return found


def processor_time(argv, env):
    """Seconds of user and system, of the process and those it waited for; None: it failed."""
    child = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    return usage.ru_utime + usage.ru_stime if status == 0 else None


def measure(found, program, runs):
    _, argv, more = program
    least = {}
    for number in range(runs):
        for name, (prefix, env) in found if number % 2 == 0 else found[::-1]:
            base = {'PATH': os.environ['PATH'], 'LC_ALL': 'C.UTF-8', 'HOME': '/nonexistent'}
            took = processor_time(prefix + argv, {**base, **more, **env})
            if took is not None:
                least[name] = min(took, least.get(name, took))
    return least


ALLOCATIONS = 10000000
FORMS = ['text', 'json', 'folded', 'pprof', 'html']


def seconds(argv, env):
    """Of processor and clock; an error ends it."""
    begun = time.monotonic()
    took = processor_time(argv, env)
    if took is None:
        raise SystemExit(f'{argv}: failed')
    return took, time.monotonic() - begun


def told(build, scratch):
    """The profile of sites.c, and what each form of it takes; as lines of a table."""
    env = {'PATH': os.environ['PATH'], 'LC_ALL': 'C.UTF-8', 'HOME': '/nonexistent'}
    profile, out = os.path.join(scratch, 'profile'), os.path.join(scratch, 'out')
    library = os.path.abspath(os.path.join(build, 'preload', 'libgcmalloc.so'))
    sites = [os.path.join(build, 'bench', 'bench_sites'), str(ALLOCATIONS)]
    plain, _ = seconds(sites, env)
    recorded, _ = seconds(sites, {**env, 'LD_PRELOAD': library,
                                  'GCMALLOC': f'stacks=all,report=off,profile={profile}'})
    with open(profile, encoding='utf-8') as lines:
        totals = dict(line.split()[1:3] for line in lines if line.startswith('total '))
    size = os.path.getsize(profile)
    yield (f'{ALLOCATIONS:,} allocations, {int(totals["stacks"]):,} stacks of 29 frames: {plain:.1f} s '
           f'without the library, {recorded:.1f} s with stacks=all; the stacks take '
           f'{int(totals["stack_table_bytes"]) / 1e6:.1f} MB, the profile {size / 1e6:.1f} MB.')
    yield ''
    yield '| gcmalloc report | processor, s | clock, s | output, MB |'
    yield '|---|---:|---:|---:|'
    for form in FORMS:
        took, clock = seconds([os.path.join(build, 'src', 'cli', 'gcmalloc'), 'report', f'--{form}',
                               '--output', out, profile], env)
        yield f'| {form} | {took:.2f} | {clock:.2f} | {os.path.getsize(out) / 1e6:.1f} |'


def table(found, rows):
    names = [name for name, _ in found]
    yield '| program | ' + ' | '.join(['none, s'] + names[1:]) + ' |'
    yield '|---|' + '---:|' * len(names)
    for program, least in rows:
        cells = [f'{least["none"]:.2f}'] + [f'{least[n] / least["none"]:.2f}' if n in least else 'fails'
                                            for n in names[1:]]
        yield f'| {program} | ' + ' | '.join(cells) + ' |'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--build', default=os.path.join(TOP, 'build'))
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--out')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = runtimes(arguments.build, scratch)
        rows = [(p[0], measure(found, p, arguments.runs)) for p in PROGRAMS]
        lines = [*table(found, rows), '', *told(arguments.build, scratch)]
    text = '\n'.join(lines) + '\n'
    sys.stdout.write(text)
    if arguments.out:
        with open(arguments.out, 'w', encoding='utf-8') as file:
            file.write(f'Processor time, least of {arguments.runs} runs; ratios to no library.\n\n{text}')


if __name__ == '__main__':
    main()
