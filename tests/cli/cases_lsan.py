"""cases_lsan.py -- the same program under LeakSanitizer and under this library.

What LeakSanitizer (gcc's, with Debian's liblsan0) finds in a program is the measure: the same kinds,
numbers, bytes and functions, site by site."""

import os
import sys
from collections import Counter

from cases_report import expect, succeed
from stage import HERE

sys.path.insert(0, os.path.dirname(HERE))

from harness import clean_env, run  # noqa: E402
import leak_report  # noqa: E402

# Where LeakSanitizer's own allocation functions end, and ours have no frame.
OWN_FRAMES = ('in malloc ', 'in calloc ', 'in realloc ', 'in operator new', 'in __interceptor_')


# Of a ring that nothing holds LeakSanitizer calls all members indirect; here one is its direct head.
RING = 'lose_ring'


def function_of(frame):
    return frame.split('(')[0].split(' ')[1] if frame.startswith('in ') else '?'


def sites(text):
    """Kind, blocks, bytes and the program's functions of each site, sorted."""
    found = []
    for group in leak_report.Report(text).groups:
        frames = [f for f in group.frames if not f.startswith(OWN_FRAMES)]
        names = [function_of(f) for f in frames]
        names = names[:names.index('main') + 1] if 'main' in names else names
        kind = 'direct' if group.direct else 'indirect'
        found.append(('either' if RING in names else kind, group.objects, group.size, tuple(names)))
    return sorted(found)


def compare(stage, source, scale):
    name = source.replace('.', '-')
    judged = stage.compile(f'{name}-lsan', source, '-fsanitize=leak', '-fno-omit-frame-pointer')
    plain = stage.compile(name, source)
    theirs = run([judged, str(scale)], timeout=60, cwd=stage.directory,
                 env=clean_env({'LSAN_OPTIONS': 'fast_unwind_on_malloc=0'}))
    expect(theirs.status == 23, f'LeakSanitizer found nothing: status {theirs.status}')
    text = succeed(stage.call('run', plain, str(scale), env={'GCMALLOC': 'stacks=all,mode=report'}))
    expect('done' in text, text[:200])
    report = succeed(stage.call('report', '--max-leaks', '0',
                                stage.profile(f'{name}-{scale}', plain, str(scale))))
    expected, found = sites(theirs.err_text), sites(report)
    expect(expected == found, f'only LeakSanitizer has {list((Counter(expected) - Counter(found)).items())}, '
           f'only we have {list((Counter(found) - Counter(expected)).items())}')
    return f'{len(found)} sites, {sum(s[1] for s in found)} blocks, {sum(s[2] for s in found)} bytes'


def report_as_lsan(stage):
    """Direct and indirect, rings and trees, small, large and resized blocks."""
    return compare(stage, 'families.c', 1)


def report_as_lsan_large(stage):
    return compare(stage, 'families.c', 50)


def report_as_lsan_cxx(stage):
    """new, delete, containers, exceptions, templates; demangled and inlined."""
    return compare(stage, 'families.cc', 3)


CASES = [report_as_lsan, report_as_lsan_large, report_as_lsan_cxx]
