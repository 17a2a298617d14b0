"""check.py -- runs the model tests for meson: would they notice, and do they pass?

    check.py detect BROKEN.so MODEL MODEL_GC MOVERS
                                                 each bug of broken.c is found; no bug, no failure
    check.py run LIBRARY OPTIONS PROGRAM ARGS    PROGRAM passes under LIBRARY with GCMALLOC=OPTIONS

Only the program under test is preloaded, not this script.
"""

import os
import subprocess
import sys

LIMIT_S = 240

# The bug, the program that must find it, and what it must say (the first found is reported).
PLANTED = [
    ('overlap', 'model', ('.inv.apart', '.inv.kept', '.inv.aligned')),
    ('scribble', 'model', ('.inv.kept',)),
    ('calloc', 'model', ('.inv.zeroed',)),
    ('realloc', 'model', ('.inv.kept',)),
    ('align', 'model', ('.inv.aligned',)),
    ('enomem', 'model', ('.inv.enomem',)),
    ('early', 'model', ('.inv.apart', '.inv.kept')),
    ('early', 'model_gc', ('.inv.apart', '.inv.kept')),
    ('scribble', 'model_gc', ('.inv.kept',)),
    ('early', 'movers', ('.inv.apart', '.inv.stamp', '.inv.book')),
    ('overlap', 'movers', ('.inv.apart', '.inv.stamp', '.inv.book')),
    ('realloc', 'movers', ('.inv.apart', '.inv.stamp', '.inv.book')),
]
RANDOM_ARGS = ['--seed=7', '--ops=10000', '--rounds=2']
CLEAN_ARGS = {'model': RANDOM_ARGS, 'model_gc': RANDOM_ARGS, 'movers': ['--seed=7', '--seconds=2']}
# The movers go by the clock. With a bug they end where it shows: the time is only when to give up,
# and how far they come in two seconds depends on what else the machine does.
DETECT_ARGS = CLEAN_ARGS | {'movers': ['--seed=7', '--seconds=100']}


def run(argv, library, settings):
    """Exit status and output of a program under a preloaded library."""
    env = {k: v for k, v in os.environ.items() if k not in ('LD_PRELOAD', 'GCMALLOC', 'BROKEN')}
    env.update(settings, LD_PRELOAD=library)
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False)
    return done.returncode, done.stdout.decode('utf-8', 'replace')


def detect(broken, programs):
    bad = 0
    for name, program in programs.items():
        status, out = run([program] + CLEAN_ARGS[name], broken, {'BROKEN': 'none'})
        if status:
            print(f'{name} fails without a bug:\n{out}')
            bad += 1
    for bug, name, expected in PLANTED:
        status, out = run([programs[name]] + DETECT_ARGS[name], broken, {'BROKEN': bug})
        line = next((l for l in out.splitlines() if 'FAILED' in l), '')
        if status and any(words in line for words in expected):
            print(f'{bug}: {line}')
        else:
            print(f'{name} has not found the bug {bug}: status {status}\n{out}')
            bad += 1
    return bad


def passes(library, options, argv):
    if not os.path.exists(library):
        print(f'{library} does not exist')
        return 1
    status, out = run(argv, library, {'GCMALLOC': options})
    print(out[-20000:])
    return status != 0 or 'passed' not in out


def main():
    if sys.argv[1] == 'detect':
        return detect(sys.argv[2], dict(zip(('model', 'model_gc', 'movers'), sys.argv[3:])))
    return passes(sys.argv[2], sys.argv[3], sys.argv[4:])


sys.exit(1 if main() else 0)
