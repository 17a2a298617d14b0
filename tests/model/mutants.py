"""mutants.py [--only A,B] [--seconds N] -- do the movers notice a collector that overlooks things?

Copies the sources to a scratch directory, and for each mutant changes one place, builds the
library, and runs the movers under it: one of SEEDS must fail, by the program's own checks or by a
signal. The unchanged sources must pass. A mutant whose text is not found in the sources is a failure: the
table is to be kept up with them.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
sys.path.insert(0, os.path.join(TOP, 'tests'))

# pylint: disable=wrong-import-position
from harness import Tally, clean_env, run, signal_name

OPTIONS = 'mode=collect,stress=500,confirm=1,probation=0,report=off'
SEEDS = (1, 2, 3, 4)

# Name: file, text, what it becomes.
MUTANTS = {
    'no-data': ('src/gc/roots.c', 'case MAP_KIND_FILE_PRIVATE:\n        return scan_populated',
                'case MAP_KIND_FILE_PRIVATE:\n        return NULL;\n        return scan_populated'),
    'no-shared-memory': ('src/gc/roots.c', 'scan_shared(map->start, map->end);', ''),
    'no-registers': ('src/gc/roots.c', 'low = frame;', 'low = pointer;'),
    'no-red-zone': ('src/gc/roots.c', 'uintptr_t low = pointer - RED_ZONE;\n',
                    'uintptr_t low = pointer;\n    return roots.stacks[roots.stack_count++] = '
                    '(struct stack){low, 0, pointer, 0, alternate, tid}, '
                    'mark_word(roots.marker, alternate);\n'),
    'no-protected-mappings': ('src/gc/roots.c', 'roots.unreadable = !map->readable;',
                              'if (!map->readable)\n        return NULL;'),
    'no-alternate-stack': ('src/gc/roots.c', '    mark_word(roots.marker, alternate);\n', ''),
    # Not told by the movers: a stack in a block that is not scanned as one (scan_stack_in_arena).
    'stack-cut-short': ('src/gc/roots.c', 'start = align_down(stack->low, WORD_SIZE);',
                        'start = align_down(stack->low, WORD_SIZE) + 2048;'),
    'a-page-in-64': ('src/gc/roots.c', 'static void scan_range(uintptr_t start, uintptr_t end, '
                     'void *data)\n{\n', 'static void scan_range(uintptr_t start, uintptr_t end, '
                     'void *data)\n{\n    if ((start >> PAGE_SHIFT) % 64 == 7)\n'
                     '        start += PAGE_SIZE;\n    if (start >= end)\n        return;\n'),
    # The last word holds the byte of padding: no pointer fits there.
    'blocks-cut-short': ('src/gc/mark.c',
                         '(const uintptr_t *)work.start, work.size / WORD_SIZE);',
                         '(const uintptr_t *)work.start, work.size / WORD_SIZE - 2);'),
}


def copy_sources(to):
    def ignore(folder, names):
        if os.path.samefile(folder, TOP):
            return [name for name in names if name.startswith(('build', '.git'))]
        return []
    shutil.copytree(TOP, to, ignore=ignore, symlinks=True)


def built(tree):
    done = subprocess.run(['scripts/build', '--dir', 'build', '-Dwerror=false'], cwd=tree,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    return done.returncode == 0, done.stdout.decode('utf-8', 'replace')


def first_failure(tree, seconds, seeds):
    """The first line of what the movers find, or None."""
    for seed in seeds:
        argv = ['env', f'LD_PRELOAD={tree}/build/preload/libgcmalloc.so', f'GCMALLOC={OPTIONS}',
                f'{tree}/build/tests/model/movers', f'--seconds={seconds}', f'--seed={seed}']
        result = run(argv, timeout=60 + 5 * seconds, env=clean_env())
        if result.status != 0:
            line = next((l for l in result.err_text.splitlines() if 'FAILED' in l), '')
            return f'{signal_name(result.status)} {line}'
    return None


def try_mutant(tree, name, seconds, tally):
    path, text, changed = MUTANTS[name]
    path = os.path.join(tree, path)
    with open(path, encoding='utf-8') as file:
        source = file.read()
    if source.count(text) != 1:
        tally.fail(name, f'its text stands {source.count(text)} times in {path}')
        return
    with open(path, 'w', encoding='utf-8') as file:
        file.write(source.replace(text, changed))
    good, log = built(tree)
    found = first_failure(tree, seconds, SEEDS) if good else None
    if found:
        tally.ok(name, found)
    else:
        tally.fail(name, 'passes' if good else 'does not build', log)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(source)


def main():
    parser = argparse.ArgumentParser(description='would the movers notice?')
    parser.add_argument('--only', default='')
    parser.add_argument('--seconds', type=int, default=5)
    args = parser.parse_args()
    wanted = [part for part in args.only.split(',') if part]
    tally = Tally('mutants')
    with tempfile.TemporaryDirectory(prefix='gcmalloc-mutants-') as scratch:
        tree = os.path.join(scratch, 'tree')
        copy_sources(tree)
        good, log = built(tree)
        found = first_failure(tree, args.seconds, SEEDS[:1]) if good else 'does not build'
        if found:
            tally.fail('unchanged', found, log)
        else:
            tally.ok('unchanged')
        for name in MUTANTS:
            if good and (not wanted or name in wanted):
                try_mutant(tree, name, args.seconds, tally)
    return tally.exit_status()


sys.exit(main())
