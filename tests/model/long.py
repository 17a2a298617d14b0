"""long.py -- the random model of malloc (model.c) for minutes.

    --seconds N     of each run (60)
    --seed N        of the first run; the others count up from there (the clock)

Runs under the library as released, with assertions, and with -Dcheck=full, where the whole heap is
checked after each round; as a plain allocator, with cycles that reclaim, and with a stack for every
block. What fails is shown with the line that repeats it.
"""

import argparse
import os
import sys
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
sys.path.insert(0, os.path.join(TOP, 'tests'))

# pylint: disable=wrong-import-position
from harness import Tally, clean_env, run, signal_name

EAGER = 'report=off,mode=collect,confirm=1,probation=0'
LIBRARIES = {'full': 'build-full/tests/model/libgcmalloc_check.so',
             'debug': 'build-debug/preload/libgcmalloc.so',
             'release': 'build/preload/libgcmalloc.so'}
SETTINGS = {'off': 'mode=off', 'stress': f'{EAGER},stress=5000',
            'growth': f'{EAGER},min_heap=1M,percent=20',
            'traced': f'{EAGER},stress=20000,stacks=all,report=/dev/null'}
# Rounds that are short enough for checks in between.
OPS = 40000


def wrong(result, library):
    if result.timed_out:
        return 'no end'
    if result.status != 0:
        lines = [l for l in (result.err_text + result.out_text).splitlines() if 'FAILED' in l]
        return f'ended with {signal_name(result.status)}: {(lines + [""])[0]}'
    if 'model: passed' not in result.out_text:
        return 'has not said that it passed'
    checked = 'heap checked' in result.out_text
    return None if checked == (library == 'full') else 'the heap has not been checked'


def main():
    parser = argparse.ArgumentParser(description='the random model of malloc, for minutes')
    parser.add_argument('--seconds', type=int, default=60)
    parser.add_argument('--seed', type=int, default=int(time.time()) % 1000003)
    args = parser.parse_args()
    tally = Tally('model')
    seed = args.seed
    for library, path in LIBRARIES.items():
        path = os.path.join(os.path.abspath(TOP), path)
        program = path.split('/build')[0] + '/' + LIBRARIES[library].split('/')[0] + '/tests/model/model'
        for name, options in SETTINGS.items():
            argv = ['env', f'LD_PRELOAD={path}', f'GCMALLOC={options}', program, f'--seed={seed}',
                    f'--ops={OPS}', f'--seconds={args.seconds}']
            result = run(argv, timeout=120 + 10 * args.seconds, env=clean_env())
            why = wrong(result, library)
            if why:
                details = [' '.join(argv), result.out_text, result.err_text, result.traces]
                tally.fail(f'{library}_{name}', why, '\n'.join(details)[-20000:])
            else:
                done = result.out_text.partition('passed, ')[2].strip()
                tally.ok(f'{library}_{name}', f'seed {seed}, {done}')
            seed += 1
    return tally.exit_status()


sys.exit(main())
