#!/usr/bin/python3
"""run_deb.py -- builds the Debian package, installs it, uses it, and removes it. As root, on Debian.

What is used: the library by its name alone (LD_PRELOAD=libgcmalloc.so), the command, an example that is
built by pkg-config against the installed header, the manual. After the removal none of its files is there.
A package of that name that is installed already is left alone: then the tests fail at once.
"""

import os
import subprocess
import sys
import tempfile

from harness import Tally, clean_env

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EAGER = 'min_heap=0,confirm=1,probation=0,report=off'


def run(*argv, **env):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, env=clean_env(env), cwd=ROOT)
    return done.returncode, done.stdout


def preloaded(scratch):
    program = os.path.join(scratch, 'statistics')
    status, flags = run('pkg-config', '--cflags', 'gcmalloc')
    if status != 0:
        return flags
    status, said = run('gcc', '-Wall', '-Werror', '-o', program, os.path.join(ROOT, 'examples/statistics.c'),
                       *flags.split())
    if status != 0:
        return said
    status, said = run(program)
    if status != 0 or 'no figures: libgcmalloc is not loaded' not in said:
        return f'without it: {said}'
    status, said = run(program, LD_PRELOAD='libgcmalloc.so', GCMALLOC=EAGER)
    return None if status == 0 and 'leaks reclaimed' in said else f'with it: {said}'


def command(scratch):
    status, said = run('gcmalloc', 'run', '/bin/true')
    if status != 0:
        return f'gcmalloc run: {said}'
    status, said = run('man', '--pager=cat', 'gcmalloc')
    return None if status == 0 and 'gcmalloc' in said else f'man: {said}'


def main():
    tally = Tally('deb')
    listed = []

    def judge(name, wrong):
        if wrong:
            tally.fail(name, 'see below', wrong)
        else:
            tally.ok(name)
        return not wrong

    with tempfile.TemporaryDirectory(prefix='gcmalloc-deb-') as scratch:
        there, _ = run('dpkg', '-s', 'libgcmalloc')
        if not judge('not_there', 'libgcmalloc is installed already' if there == 0 else None):
            return tally.exit_status()
        status, said = run('scripts/build-deb', os.path.join(ROOT, 'build-deb'), HOME=scratch)
        if not judge('build', said if status != 0 else None):
            return tally.exit_status()
        package = said.strip().splitlines()[-1]
        status, said = run('dpkg', '-i', package)
        if judge('install', said if status != 0 else None):
            listed = [path for path in run('dpkg', '-L', 'libgcmalloc')[1].split() if os.path.isfile(path)]
            judge('preloaded', preloaded(scratch))
            judge('command', command(scratch))
        status, said = run('dpkg', '-r', 'libgcmalloc')
        left = [path for path in listed if os.path.exists(path)]
        judge('remove', said if status != 0 else f'left behind: {left}' if left or not listed else None)
    return tally.exit_status()


sys.exit(main())
