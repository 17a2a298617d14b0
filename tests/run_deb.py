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


def boehm(scratch):
    """A program for Boehm's collector: by pkg-config alone it is collected, and by -lgc with LD_PRELOAD."""
    example = os.path.join(ROOT, 'examples', 'boehm.c')
    status, flags = run('pkg-config', '--cflags', '--libs', 'gcmalloc-bdwgc')
    if status != 0:
        return flags
    compile_line = ['gcc', '-Wall', '-Werror', '-o', os.path.join(scratch, 'boehm')]
    status, said = run(*compile_line, example, *flags.split())
    if status != 0:
        return said
    status, said = run(os.path.join(scratch, 'boehm'), GCMALLOC='probation=0,confirm=1')
    if status != 0 or 'most are gone' not in said:
        return f'linked: {said}'
    with open(os.path.join(scratch, 'other.cc'), 'w', encoding='ascii') as source:
        source.write('#include <gc/gc.h>\n#include <gc/gc_cpp.h>\n#include <gc_typed.h>\n#include <cstdio>\n'
                     'struct a : public gc { int n[100]; };\nint main() { GC_INIT(); for (int i = 0; i < 300000; i++) new a;\n'
                     'GC_gcollect(); GC_gcollect(); std::puts(GC_get_memory_use() < 30 << 20 && GC_get_gc_no() > 0 ? "collected" : "not"); }\n')
    directory = run('pkg-config', '--variable=libdir', 'gcmalloc-bdwgc')[1].strip() + '/gcmalloc'
    status, said = run('g++', '-o', os.path.join(scratch, 'other'), os.path.join(scratch, 'other.cc'),
                       *run('pkg-config', '--cflags', 'gcmalloc-bdwgc')[1].split(), f'-L{directory}', '-lgc')
    if status != 0:
        return said
    status, said = run(os.path.join(scratch, 'other'), LD_LIBRARY_PATH=directory, LD_PRELOAD='libgcmalloc.so', GCMALLOC=EAGER)
    return None if status == 0 and said == 'collected\n' else f'preloaded: {said}'


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
            judge('boehm', boehm(scratch))
        status, said = run('dpkg', '-r', 'libgcmalloc')
        left = [path for path in listed if os.path.exists(path)]
        judge('remove', said if status != 0 else f'left behind: {left}' if left or not listed else None)
    return tally.exit_status()


sys.exit(main())
