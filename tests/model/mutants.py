"""mutants.py [--only A,B] [--seconds N] -- do the movers notice a collector that overlooks things?

    --seconds N     for each run of the unchanged sources (5)

Copies the sources to a scratch directory, and for each mutant changes one place, builds the
library with checks, and runs the movers under it, with the oracle where the mark is concurrent: one
of SEEDS must fail, by the program's own checks or by a signal. What the movers do not come to is
left to a unit test, which must fail then. The unchanged sources must pass. A mutant whose text is
not found in the sources is a failure: the table is to be kept up with them.
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

OPTIONS = 'mode=collect,confirm=1,probation=0,report=off'
STOPPED = 'stress=500,barrier=full'
UFFD = 'stress=500,barrier=uffd,workers=2,pause_us=50,oracle=1'
MPROTECT = 'stress=500,barrier=mprotect,workers=2,pause_us=50,oracle=1'
GROWTH = 'min_heap=1M,percent=20,barrier=uffd,workers=2,oracle=1'
# Instead of options: the unit test that must notice.
UNIT_CYCLE = 'unit_cycle_cycle'
SEEDS = (1, 2, 3, 4)
# When to give up a mutant and a seed: a run ends where the bug shows.
PATIENCE = 60

# Name: file, text, what it becomes, options.
MUTANTS = {
    'no-data': ('src/gc/roots.c',
                'else if (map->kind == MAP_KIND_FILE_PRIVATE || map->kind == MAP_KIND_SHARED_MEMORY)',
                'else if (map->kind == MAP_KIND_SHARED_MEMORY)', STOPPED),
    'no-shared-memory': ('src/gc/roots.c', '        scan_shared(start, end);\n    else',
                         '        ;\n    else', STOPPED),
    'no-registers': ('src/gc/roots.c', 'low = frame;', 'low = pointer;', STOPPED),
    'no-red-zone': ('src/gc/roots.c', 'uintptr_t low = pointer - red_zone;\n',
                    'uintptr_t low = pointer + 0 * red_zone;\n    frame = 0;\n', STOPPED),
    'no-protected-mappings': ('src/gc/roots.c', 'roots.unreadable = !map->readable;',
                              'if (!map->readable)\n        return;', STOPPED),
    'no-alternate-stack': ('src/gc/roots.c', '    mark_word(roots.marker, alternate);\n', '', STOPPED),
    # Not told by the movers: a stack in a block that is not scanned as one (scan_stack_in_arena).
    'stack-cut-short': ('src/gc/roots.c', 'low = size_min(align_down(stack->low, WORD_SIZE), high);',
                        'low = size_min(align_down(stack->low, WORD_SIZE) + 2048, high);', STOPPED),
    'a-page-in-64': ('src/gc/roots.c', 'static void scan_range(uintptr_t start, uintptr_t end, '
                     'void *data)\n{\n', 'static void scan_range(uintptr_t start, uintptr_t end, '
                     'void *data)\n{\n    if ((start >> PAGE_SHIFT) % 64 == 7)\n'
                     '        start += PAGE_SIZE;\n    if (start >= end)\n        return;\n', STOPPED),
    # The last word holds the byte of padding: no pointer fits there.
    'blocks-cut-short': ('src/gc/mark_loop.h', 'size_t size_in_words = found.size / WORD_SIZE;',
                         'size_t size_in_words = found.size / WORD_SIZE - 2;', STOPPED),
    'uffd-drops-pages': ('src/gc/barrier_uffd.c',
                         '        for (long i = 0; i < count; i++)\n'
                         '            visit(ranges[i].start, ranges[i].end, data);\n',
                         '        static unsigned n;\n        for (long i = 0; i < count; i++)\n'
                         '            for (uintptr_t p = ranges[i].start; p < ranges[i].end; p += PAGE_SIZE)\n'
                         '                if (++n % 1000 != 0)\n'
                         '                    visit(p, p + PAGE_SIZE, data);\n', UFFD),
    'mprotect-drops-units': ('src/gc/shield.c', '        visit(start, stop, data);\n',
                             '        static unsigned n;\n        if (++n % 100 != 0)\n'
                             '            visit(start, stop, data);\n', MPROTECT),
    'a-mapping-is-clean': ('src/gc/roots.c', '    if (armed && !all) {\n',
                           '    if (armed && map->kind == MAP_KIND_FILE_PRIVATE) {\n'
                           '        armed_add(start, end);\n        return;\n    }\n    if (armed && !all) {\n', UFFD),
    'armed-after-the-epoch': ('src/cycle/cycle.c',
                              '    arm_heap(order); /* before the epoch: rescan.c, .inv.armed_first */\n'
                              '    cycle.unfinished = true;\n    cycle.look_ns = 0;\n'
                              '    begin_epoch();\n',
                              '    cycle.unfinished = true;\n    cycle.look_ns = 0;\n'
                              '    begin_epoch();\n    arm_heap(order);\n', UFFD),
    'last-look-without-stacks': ('src/gc/roots.c',
                                 '    if (roots.pass != ROOTS_CONCURRENT) {\n        if (map',
                                 '    if (roots.pass == ROOTS_ALL) {\n        if (map', UFFD),
    'last-look-without-heap': ('src/cycle/cycle.c',
                               '    rescan_heap(order->barrier, team_leader(), false, deadline, &complete);\n',
                               '    complete = true;\n', UFFD),
    'large-blocks-not-again': ('src/gc/mark.c', 'else if (kind == SLAB_LARGE)\n            rescan_large',
                               'else if (kind == SLAB_LARGE && object != 0)\n            rescan_large', GROWTH),
    'new-slabs-not-again': ('src/gc/rescan.c', 'if (!p.late && end > old)', 'if (p.late && end > old)', GROWTH),
    'verdict-outlives-its-epoch': ('src/cycle/cycle.c', '    release_store(&judge.epoch, 0);\n', '', UNIT_CYCLE),
}


def copy_sources(to):
    def ignore(folder, names):
        if os.path.samefile(folder, TOP):
            return [name for name in names if name.startswith(('build', '.git'))]
        return []
    shutil.copytree(TOP, to, ignore=ignore, symlinks=True)


def built(tree):
    steps = [['scripts/build', '--dir', 'build', '-Dcheck=debug', '-Dwerror=false'],
             ['ninja', '-C', 'build', 'preload/libgcmalloc.so', 'tests/model/movers',
              f'tests/unit/{UNIT_CYCLE}']]
    if os.path.exists(os.path.join(tree, 'build')):
        steps = steps[1:]
    log, good = '', True
    for step in steps:
        done = subprocess.run(step, cwd=tree, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        log += done.stdout.decode('utf-8', 'replace')
        good = done.returncode == 0
    return good, log


def unit_failure(tree, name):
    """The first expectation that did not hold, or None."""
    result = run([f'{tree}/build/tests/unit/{name}'], timeout=600, env=clean_env())
    if result.status == 0:
        return None
    line = next((l for l in result.out_text.splitlines() if ': expected ' in l), '')
    return f'{signal_name(result.status)} {line}'


def first_failure(tree, options, seconds, seeds):
    """The first line of what the movers, the oracle or the unit test find, or None."""
    if options == UNIT_CYCLE:
        return unit_failure(tree, options)
    for seed in seeds:
        argv = ['env', f'LD_PRELOAD={tree}/build/preload/libgcmalloc.so', f'GCMALLOC={OPTIONS},{options}',
                f'{tree}/build/tests/model/movers', f'--seconds={seconds}', f'--seed={seed}']
        result = run(argv, timeout=60 + 5 * seconds, env=clean_env())
        if result.status != 0:
            line = next((l for l in result.err_text.splitlines() if 'FAILED' in l or 'libgcmalloc:' in l), '')
            return f'{signal_name(result.status)} {line}'
    return None


def try_mutant(tree, name, tally):
    path, text, changed, options = MUTANTS[name]
    path = os.path.join(tree, path)
    with open(path, encoding='utf-8') as file:
        source = file.read()
    if source.count(text) != 1:
        tally.fail(name, f'its text stands {source.count(text)} times in {path}')
        return
    with open(path, 'w', encoding='utf-8') as file:
        file.write(source.replace(text, changed))
    good, log = built(tree)
    found = first_failure(tree, options, PATIENCE, SEEDS) if good else None
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
        for options in (STOPPED, UFFD, MPROTECT, GROWTH, UNIT_CYCLE):
            name = 'unchanged_' + (options.partition('barrier=')[2].partition(',')[0] or options)
            found = first_failure(tree, options, args.seconds, SEEDS[:1]) if good else 'does not build'
            if found:
                tally.fail(name, found, log)
            else:
                tally.ok(name)
        for name in MUTANTS:
            if good and (not wanted or name in wanted):
                try_mutant(tree, name, tally)
    return tally.exit_status()


sys.exit(main())
