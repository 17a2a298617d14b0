"""run.py -- Debian's own programs, with the library and without: the same output, or it is a failure.

    --lib PATH      the library under test (not needed with --preload)
    --preload PATH  any other library in its place, without the library's own expectations
    --only A,B      only cases whose name contains one of these
    --jobs N        cases at a time (2)
    --long          more work, each case under several settings, and some more cases
    --options TEXT  added to GCMALLOC, after the runner's own
    --matrix [O=A,B] each case once per value of the option O, by default once per back end of the
                    collector that works here (barrier=uffd,mprotect,softdirty,full); one line a case
    --keep          keep the work directories, and say where
    --verbose       show every command, and the observations of failing cases in full

Each case runs once plainly and once under each setting, in a work directory of the same name, since names
show in output. What both runs must have in common -- standard output and error, exit status, files -- is
compared byte by byte. The plain run is made once for all values of a matrix. The leak report goes to a
file outside the work directory.
"""

import argparse
import concurrent.futures
import os
import shutil
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

# pylint: disable=wrong-import-position
from backends import BARRIERS, refusal
from cases import CASES, EAGER
from harness import CLEAN_PATH, Tally
from stage import Stage, Trouble


def parse_arguments():
    parser = argparse.ArgumentParser(description='real programs under the library')
    parser.add_argument('--lib')
    parser.add_argument('--preload')
    parser.add_argument('--only', default='')
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--long', action='store_true')
    parser.add_argument('--options', default='')
    parser.add_argument('--matrix', nargs='?', const='barrier=' + ','.join(BARRIERS))
    parser.add_argument('--keep', action='store_true')
    parser.add_argument('--verbose', action='store_true')
    return parser.parse_args()


def settings_of(case, long, matrix):
    """Names and GCMALLOC values under which a case runs. `matrix`: option=value texts, or none."""
    eager = f'{EAGER},confirm={case.confirm}'
    base = f'{eager},stress={case.stress}' if case.stress else 'confirm=1,probation=0'
    if matrix:
        for setting in matrix:
            yield '_' + setting.partition('=')[2], f'{base},{setting}'
        return
    yield '', base
    if long and not (case.stress and not case.plain):
        for stress in case.long_stress:
            yield f'_stress_{stress}', f'{eager},stress={stress}'
        if case.stress:
            yield '_report', f'mode=report,min_heap=0,stress={case.stress}'
            yield '_defaults', 'stacks=sampled'
        else:
            yield '_defaults', 'percent=100'


def play(case, home, preload, options, args):
    """Runs a case once, in a fresh work directory of the same name; returns its Stage."""
    work = os.path.join(home, 'work')
    shutil.rmtree(work, ignore_errors=True)
    os.mkdir(work)
    stage = Stage(work, preload, options, 4 if args.long else 1)
    try:
        case.function(stage, 3 if args.long else 1)
    except Trouble as trouble:
        trouble.details = '\n'.join(stage.log) + '\n' + trouble.details
        raise
    except Exception as error:      # a mistake in a case must not stop the others
        raise Trouble(f'{type(error).__name__}: {error}', traceback.format_exc()) from error
    return stage


def shown(value):
    return value.decode('utf-8', 'replace') if isinstance(value, bytes) else str(value)


def difference(name, plain, other, full):
    """The first lines that differ, or everything."""
    if plain is None or other is None:
        return [f'{name}: only in the {"plain" if other is None else "other"} run']
    left, right = shown(plain).splitlines(), shown(other).splitlines()
    lines = [f'{name}: {len(left)} lines plainly, {len(right)} with the library']
    for number in range(max(len(left), len(right))):
        a = left[number] if number < len(left) else '(end)'
        b = right[number] if number < len(right) else '(end)'
        if a != b:
            lines += [f'  line {number + 1} plainly:     {a[:300]}', f'  line {number + 1} with library: {b[:300]}']
            if not full and len(lines) > 8:
                break
    return lines


def compare(plain, other, full):
    lines = []
    for name in sorted(set(plain) | set(other)):
        if plain.get(name) != other.get(name):
            lines += difference(name, plain.get(name), other.get(name), full)
    return lines


def play_all(case, args, preload):
    """All settings of a case, the plain run first. Returns (test name, why or None, details, note)."""
    missing = [need for need in case.needs if shutil.which(need, path=CLEAN_PATH) is None]
    if missing:
        return [(case.name, f'not installed: {" ".join(missing)}', 'scripts/setup --long installs it', '')]
    home = tempfile.mkdtemp(prefix='gcmalloc-real-')
    outcomes, plain = [], None
    try:
        if case.plain:
            plain = play(case, home, None, '', args)
        for suffix, options in settings_of(case, args.long, args.matrix):
            options += f',report={home}/report.%p' + (f',{args.options}' if args.options else '')
            outcomes.append((case.name + suffix, *play_one(case, home, preload, options, args, plain)))
    except Trouble as trouble:
        outcomes.append((case.name, f'without the library: {trouble.why}', trouble.details, ''))
    if args.keep:
        print(f'# {case.name}: {home}', flush=True)
    else:
        shutil.rmtree(home, ignore_errors=True)
    return outcomes


def play_one(case, home, preload, options, args, plain):
    context = f'GCMALLOC={options}\n'
    try:
        stage = play(case, home, preload, options, args)
    except Trouble as trouble:
        return trouble.why, context + trouble.details, ''
    lines = compare(plain.observed, stage.observed, args.verbose) if plain else []
    if lines:
        return f'differs: {lines[0]}', context + '\n'.join(lines), ''
    return None, '\n'.join(stage.log), ', '.join(stage.notes)


def matrix_of(text, library):
    """The settings that the library takes; says on the way which it does not, and why."""
    option, _, values = text.partition('=')
    settings = []
    for value in values.split(','):
        why = refusal(library, option, value)
        if why:
            print(f'# {option}={value} is left out: {why}', flush=True)
        else:
            settings.append(f'{option}={value}')
    return settings


def tell(outcomes, tally, args):
    """One line a test; in a matrix one a case, and one for each setting that failed."""
    good = []
    for name, why, details, note in outcomes:
        if why:
            tally.fail(name, why, details)
            continue
        good.append((name, note))
        if args.verbose:
            print(details, flush=True)
    if not args.matrix:
        for name, note in good:
            tally.ok(name, note)
    elif len(good) == len(outcomes):
        tally.ok(os.path.commonprefix([name for name, _ in good]).rstrip('_'), f'{len(good)} settings')


def is_chosen(case, wanted, args):
    if args.preload and not case.plain:
        return False
    if case.long and not args.long and case.name not in wanted:
        return False
    return not wanted or any(part in case.name for part in wanted)


def main():
    args = parse_arguments()
    preload = os.path.abspath(args.preload or args.lib or '/missing')
    if not os.path.exists(preload):
        sys.exit(f'run.py: no library {preload}; see --lib and --preload')
    if args.matrix:
        args.matrix = matrix_of(args.matrix, preload)
        if not args.matrix:
            sys.exit('run.py: nothing is left of the matrix')
    wanted = [part for part in args.only.split(',') if part]
    chosen = [case for case in CASES if is_chosen(case, wanted, args)]
    tally = Tally('real' if 'build-debug' in preload else 'real-release')
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for outcomes in pool.map(lambda case: play_all(case, args, preload), chosen):
            tell(outcomes, tally, args)
    return tally.exit_status()


sys.exit(main())
