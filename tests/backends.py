"""backends.py -- the ways to collect, for the runners that try them all.

The library names what it does not know or cannot do on standard error and goes on with something
else. So what a runner must know beforehand is asked of the library itself, by a run of a small program
that collects: a back end is opened by the first cycle.
"""

import subprocess

from harness import CLEAN_PATH

BARRIERS = ('uffd', 'mprotect', 'softdirty', 'full')
WORKERS = (1, 2, 3, 4)
PAUSES_US = (50, 500)


def said(library, options):
    """What the library says, on either stream, when it starts with these options."""
    env = {'PATH': CLEAN_PATH, 'LD_PRELOAD': library, 'GCMALLOC': options}
    done = subprocess.run(['/usr/bin/sort', '/dev/null'], env=env, stdin=subprocess.DEVNULL, timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode('utf-8', 'replace')


def known_options(library):
    """The names in the library's own table of options."""
    lines = said(library, 'help=1,report=off').splitlines()
    return {line.split()[0] for line in lines if line.strip() and not line.startswith('libgcmalloc')}


def refusal(library, option, value):
    """Why the library does not do `option=value` here; None when it does."""
    if option not in known_options(library):
        return f'the library has no option {option}'
    return said(library, f'report=off,min_heap=0,stress=1,{option}={value}').strip() or None
