"""matrix.py --build DIR -- the movers (movers.c) under every way to collect.

    --build DIR     build directory with the library and the program
    --preload PATH  another library in place of the one in DIR
    --seconds N     of each run (1; with --long 20)
    --long          every back end with 1 to 4 workers and both pauses; else each back end once
    --seed N        of the first run; the others count up from there (the clock)
    --options TEXT  added to GCMALLOC, after the runner's own
    --oracle        let the library check each concurrent mark by a stopped one

Two kinds of run take turns: a cycle every 500 allocations, each reclaiming what it finds; and cycles
by growth alone, of a heap large enough to be marked beside the program. A library that knows no back
ends is run once per kind and seed. A failing run is shown with the line that repeats it.
"""

import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

# pylint: disable=wrong-import-position
from backends import BARRIERS, PAUSES_US, WORKERS, known_options, refusal
from harness import Tally, clean_env, run, signal_name

EAGER = 'mode=collect,confirm=1,probation=0,report=off'
KINDS = {'stress': f'{EAGER},stress=500', 'growth': f'{EAGER},min_heap=1M,percent=20'}


def parse_arguments():
    parser = argparse.ArgumentParser(description='the movers under every way to collect')
    parser.add_argument('--build', required=True)
    parser.add_argument('--preload')
    parser.add_argument('--seconds', type=int)
    parser.add_argument('--long', action='store_true')
    parser.add_argument('--seed', type=int, default=int(time.time()) % 1000003)
    parser.add_argument('--options', default='')
    parser.add_argument('--oracle', action='store_true')
    return parser.parse_args()


def combinations(long):
    """(barrier, workers, pause): all, or each barrier once with workers and pauses in turn."""
    if long:
        return [(b, w, p) for b in BARRIERS for w in WORKERS for p in PAUSES_US]
    return [(b, WORKERS[i % 4], PAUSES_US[i % 2]) for i, b in enumerate(BARRIERS)]


def cells(library, long, tally):
    """Name and GCMALLOC value of each run."""
    kinds = list(KINDS.items())
    if 'barrier' not in known_options(library):
        for turn in range(4 if long else 1):
            for kind, options in kinds:
                yield f'stopped_{kind}_{turn + 1}', options
        return
    refused = {barrier: refusal(library, 'barrier', barrier) for barrier in BARRIERS}
    for barrier, why in refused.items():
        if why:
            tally.ok(f'{barrier}_skipped', why)
    for i, (barrier, workers, pause) in enumerate(combinations(long)):
        kind, options = kinds[i % 2 if long else i // 2 % 2]
        if not refused[barrier]:
            yield (f'{barrier}_{workers}_{pause}us_{kind}',
                   f'{options},barrier={barrier},workers={workers},pause_us={pause}')
    for barrier in BARRIERS if long else BARRIERS[:1]:
        if not refused[barrier]:
            yield f'{barrier}_hugepages', f'{KINDS["growth"]},barrier={barrier},hugepages=1'


def wrong(result):
    if result.timed_out:
        return 'no end'
    if result.status != 0:
        lines = [l for l in (result.err_text + result.out_text).splitlines() if 'FAILED' in l]
        return f'ended with {signal_name(result.status)}: {(lines + [""])[0]}'
    return None if 'movers: passed' in result.out_text else 'has not said that it passed'


def main():
    args = parse_arguments()
    build = os.path.abspath(args.build)
    library = os.path.abspath(args.preload or os.path.join(build, 'preload', 'libgcmalloc.so'))
    program = os.path.join(build, 'tests', 'model', 'movers')
    seconds = args.seconds or (20 if args.long else 1)
    tally = Tally('movers' if os.path.basename(build) == 'build-debug' else 'movers-release')
    for i, (name, options) in enumerate(cells(library, args.long, tally)):
        options += (',oracle=1' if args.oracle else '') + (f',{args.options}' if args.options else '')
        argv = ['env', f'LD_PRELOAD={library}', f'GCMALLOC={options}', program,
                f'--seconds={seconds}', f'--seed={args.seed + i}', '--leakcheck=1']
        result = run(argv, timeout=60 + 10 * seconds, env=clean_env())
        why = wrong(result)
        if why:
            details = [' '.join(argv), result.out_text, result.err_text, result.traces]
            tally.fail(name, why, '\n'.join(details)[-20000:])
        else:
            moves = result.out_text.partition('passed, ')[2].partition(' moves')[0]
            tally.ok(name, f'seed {args.seed + i}, {moves} moves/s')
    return tally.exit_status()


sys.exit(main())
