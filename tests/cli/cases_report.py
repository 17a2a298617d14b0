"""cases_report.py -- what a profile of a real program looks like in each form."""

import json
import math
import os
import re
import shutil
import subprocess
import sys

from stage import HERE, frames_of, profile_of

sys.path.insert(0, os.path.dirname(HERE))

import leak_report  # noqa: E402
from harness import clean_env  # noqa: E402


def expect(condition, why):
    if not condition:
        raise AssertionError(why)


def succeed(result, status=0):
    expect(result.status == status, f'status {result.status}, not {status}: {result.err_text[-500:]}')
    return result.out_text


def line_of(source, text):
    """Number of the first line of a source that contains a text."""
    with open(os.path.join(HERE, source), encoding='utf-8') as lines:
        return next(n for n, line in enumerate(lines, 1) if text in line)


def leaks_profile(stage, count=10):
    return stage.profile(f'leaks-{count}', stage.leaks(), str(count))


def group_of(text, size):
    groups = [g for g in leak_report.Report(text).groups if g.size == size]
    expect(len(groups) == 1, f'{len(groups)} groups of {size} bytes in {text[-2000:]}')
    return groups[0]


def report_inlined(stage):
    """Functions, files, lines; inlined calls as frames of their own, innermost first."""
    text = succeed(stage.call('report', leaks_profile(stage)))
    group = group_of(text, 960)
    expect(group.objects == 10, f'{group.objects} objects')
    wanted = [('innermost', 'malloc(96)'), ('middle', '    innermost();'), ('outer', '    middle();'),
              ('main', '        outer();')]
    for frame, (function, source) in zip(group.frames, wanted):
        place = f'in {function} .*/leaks\\.c:{line_of("leaks.c", source)}:\\d+$'
        expect(re.match(place, frame), f'{frame!r} is not {place!r}')
    expect('==ERROR: LeakSanitizer: detected memory leaks\n' in text, text[:400])
    expect('SUMMARY: LeakSanitizer: 960 byte(s) leaked in 10 allocation(s).\n' in text, text[-400:])


def report_clang(stage):
    """Clang writes no table of units: functions, lines and inlined calls are found all the same."""
    if shutil.which('clang', path='/usr/bin') is None:
        return 'no clang here'
    program = stage.path('by-clang')
    subprocess.run(['/usr/bin/clang', '-O2', '-g', '-o', program, os.path.join(HERE, 'leaks.c')],
                   check=True, env=clean_env({'TMPDIR': stage.directory}))
    data = json.loads(succeed(stage.call('report', '--json', stage.profile('by-clang', program, '10'))))
    leak, = [leak for leak in data['leaks'] if leak['bytes'] == 960]
    frames = frames_of(data, leak['stack'])[:4]
    expect([f['function'] for f in frames] == ['innermost', 'middle', 'outer', 'main'], frames)
    expect([f['inlined'] for f in frames] == [True, True, False, False], frames)
    expect(all(f['file'].endswith('leaks.c') and f['line'] > 0 for f in frames), frames)
    return None


def report_cxx(stage):
    """C++ names are demangled, in inlined frames too."""
    program = stage.compile('shapes', 'shapes.cc')
    text = succeed(stage.call('report', stage.profile('shapes', program)))
    frames = group_of(text, 2000).frames
    expect(frames[0].startswith('in shape::circle::grow(int) '), frames[0])
    expect(frames[1].startswith('in void shape::each<std::'), frames[1])
    expect(frames[2].startswith('in main '), frames[2])


def report_plugins(stage):
    """Two plugins, one after the other at the same place, called from the same place, both gone: each
    keeps its names, and its stack. In the process's own report they are modules and offsets."""
    path = stage.profile('plugins', stage.leaks(), '0', *stage.plugins())
    with open(path, encoding='utf-8') as lines:
        starts = {line.split()[-1].rpartition('/')[2]: line.split()[1] for line in lines
                  if line.startswith('module ') and line.endswith('_place.so\n')}
    expect(len(starts) == 2, f'plugins in the profile: {starts}')
    expect(len(set(starts.values())) == 1, f'the plugins had places of their own: {starts}')
    groups = leak_report.Report(succeed(stage.call('report', path))).groups
    named = sorted(frame.split()[1] for group in groups if group.size == 160
                   for frame in group.frames if '_place ' in frame)
    expect(named == ['first_place', 'other_place'], f'named: {named}')
    first, other = stage.plugins()
    result = stage.call('run', '--output', stage.path('again.profile'), stage.leaks(), '0', first, other, first,
                        env={'GCMALLOC': 'stacks=all,mode=report,report=stderr'})
    text = result.err_text[:result.err_text.index('SUMMARY')]
    groups = [g for g in leak_report.Report(text).groups if g.frames and '_place.so+0x' in g.frames[0]]
    told = sorted((os.path.basename(g.frames[0].split('+')[0]), g.objects, g.size) for g in groups)
    expect(told == [('first_place.so', 2, 320), ('other_place.so', 1, 160)], f'told: {told}')


def report_stripped(stage):
    """Without symbols: the module and the offset that addr2line wants."""
    stage.leaks()
    whole, stripped = stage.copy('leaks', 'whole'), stage.copy('leaks', 'stripped')
    subprocess.run(['strip', stripped], check=True)
    text = succeed(stage.call('report', stage.profile('stripped', stripped, '3')))
    frame = group_of(text, 288).frames[0]
    match = re.match(r' ?\(.*/stripped\+(0x[0-9a-f]+)\) \(BuildId: [0-9a-f]{40}\)$', frame)
    expect(match, f'the frame is {frame!r}')
    done = subprocess.run(['addr2line', '-f', '-i', '-e', whole, match.group(1)], check=True,
                          stdout=subprocess.PIPE, text=True)
    functions = done.stdout.split('\n')[0::2]
    expect(functions[:3] == ['innermost', 'middle', 'outer'], f'addr2line says {functions}')


def report_rebuilt(stage):
    """A program that was replaced since gives no names, and that is said."""
    stage.leaks()
    program = stage.copy('leaks', 'rebuilt')
    path = stage.profile('rebuilt', program, '3')
    os.unlink(program)
    stage.compile('rebuilt', 'leaks.c', '-O1')
    result = stage.call('report', path)
    expect(f'gcmalloc: {program} has changed since' in result.err_text, result.err_text)
    expect('/rebuilt+0x' in group_of(succeed(result), 288).frames[0], 'it was named all the same')


def report_seconds(stage):
    """A time limit that is over at once leaves offsets, and changes nothing else."""
    path = leaks_profile(stage)
    whole = json.loads(succeed(stage.call('report', '--json', path)))
    hasty = json.loads(succeed(stage.call('report', '--json', '--symbolize-seconds', '1e-9', path)))
    expect(hasty['leaks'] == whole['leaks'], 'the leaks differ')
    frames = [frame for stack in hasty['stacks'] for frame in frames_of(hasty, stack)]
    expect(frames and not any(f['function'] or f['inlined'] for f in frames), 'functions were named')
    expect(all(f['module'] for f in frames), 'modules are missing')


def report_json(stage):
    """Every part of the schema; the same leaks as in the text."""
    data = json.loads(succeed(stage.call('report', '--json', leaks_profile(stage))))
    expect(list(data) == ['version', 'process', 'options', 'totals', 'notes', 'unrecorded', 'sampled',
                          'modules', 'forgotten_modules', 'threads', 'stacks', 'frames', 'sites', 'reach', 'leaks', 'contradictions', 'cycles',
                          'moments', 'events'], f'parts: {list(data)}')
    expect(data['unrecorded'] is None and data['sampled'] is False, 'each block has its stack')
    for one in data['leaks'] + data['reach']:
        expect((one['estimated_blocks'], one['estimated_bytes']) == (one['blocks'], one['bytes']), one)
    expect(data['process']['program'] == stage.leaks(), data['process'])
    expect(data['process']['arguments'] == [stage.leaks(), '10'], data['process'])
    expect(data['options']['stacks'] == 'all', data['options'])
    leak, = [leak for leak in data['leaks'] if leak['bytes'] == 960]
    expect(leak['kind'] == 'direct' and leak['state'] == 'remaining' and leak['blocks'] == 10, leak)
    frames = frames_of(data, leak['stack'])[:4]
    expect([f['function'] for f in frames] == ['innermost', 'middle', 'outer', 'main'], frames)
    expect([f['inlined'] for f in frames] == [True, True, False, False], frames)
    expect(len({f['pc'] for f in frames[:3]}) == 1, 'inlined frames of several addresses')
    expect(frames[0]['module'] == stage.leaks() and frames[0]['file'].endswith('leaks.c'), frames)
    expect(data['cycles'][-1]['reason'] == 'exit', data['cycles'])


def decoded(stage, packed):
    """What protobuf's own decoder makes of it."""
    raw = subprocess.run(['gzip', '-dc', packed], check=True, stdout=subprocess.PIPE).stdout
    proto = os.path.join(HERE, '..', '..', 'src', 'cli')
    return subprocess.run(['protoc', f'--proto_path={proto}', 'pprof.proto',
                           '--decode=perftools.profiles.Profile'], check=True, input=raw,
                          stdout=subprocess.PIPE).stdout.decode()


def report_pprof(stage):
    """Sample types, mapping 1 the program, inlined calls as lines of one location."""
    packed = stage.path('leaks.pb.gz')
    succeed(stage.call('report', '--pprof', '--output', packed, leaks_profile(stage)))
    text = decoded(stage, packed)
    strings = [json.loads(s) for s in re.findall(r'^string_table: (".*")$', text, re.M)]
    types = [(strings[int(a)], strings[int(b)]) for a, b in
             re.findall(r'^sample_type \{\n  type: (\d+)\n  unit: (\d+)', text, re.M)]
    expect(types == [('alloc_objects', 'count'), ('alloc_space', 'bytes'),
                     ('inuse_objects', 'count'), ('inuse_space', 'bytes'),
                     ('leaked_objects', 'count'), ('leaked_space', 'bytes')], types)
    mapping = re.search(r'^mapping \{\n(.*?)^\}', text, re.M | re.S).group(1)
    expect(strings[int(re.search('filename: (\\d+)', mapping).group(1))] == stage.leaks(), mapping)
    expect(re.search('build_id: [1-9]', mapping), mapping)
    values = [re.findall(r'  value: (\d+)', sample) for sample in
              re.findall(r'^sample \{\n(.*?)^\}', text, re.M | re.S)]
    expect(['10', '960'] in [v[4:] for v in values], f'values: {values}')
    lines = [location.count('  line {') for location in
             re.findall(r'^location \{\n(.*?)^\}', text, re.M | re.S)]
    expect(3 in lines, f'lines of locations: {lines}')


def report_pprof_tool(stage):
    """`go tool pprof` reads it, where there is one."""
    if shutil.which('go', path='/usr/bin') is None:
        return 'no go here'
    packed = stage.path('tool.pb.gz')
    succeed(stage.call('report', '--pprof', '--output', packed, leaks_profile(stage)))
    done = subprocess.run(['/usr/bin/go', 'tool', 'pprof', '-top', '-sample_index=leaked_space',
                           packed], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={'HOME': stage.directory, 'PATH': '/usr/bin:/bin'}, check=False)
    expect(re.search(r'960B .* innermost \(inline\)', done.stdout), done.stdout)
    expect(re.search(r'960B +100% +main$', done.stdout, re.M), done.stdout)
    return None


def report_html(stage):
    """One page with the profile's JSON in it; or one line if the command has no page."""
    path = leaks_profile(stage)
    result = stage.call('report', '--html', path)
    if result.status == 10 and 'built without npm' in result.err_text:
        return 'the command was built without the page'
    text = succeed(result)
    expect(text.lower().startswith('<!doctype html') and text.rstrip().endswith('</html>'), text[:200])
    expect('"program":"' + stage.leaks() + '"' in text and 'innermost' in text, 'the profile')
    return None


def report_folded(stage):
    """Root first; the bytes of each kind are those of the JSON."""
    path = leaks_profile(stage)
    data = json.loads(succeed(stage.call('report', '--json', path)))
    sums = {'leaked': sum(l['bytes'] for l in data['leaks']),
            'allocated': sum(s['allocated_bytes'] for s in data['sites']),
            'live': sum(s['allocated_bytes'] - s['freed_bytes'] for s in data['sites']),
            'reachable': sum(r['bytes'] for r in data['reach'])}
    for kind, wanted in sums.items():
        text = succeed(stage.call('report', '--folded', '--sample', kind, path))
        found = sum(int(line.rpartition(' ')[2]) for line in text.splitlines())
        expect(found == wanted and found > 0, f'{kind}: {found}, not {wanted}')
    leaked = succeed(stage.call('report', '--folded', path))
    expect(re.search(r'^_start;.*;main;outer;middle;innermost 960$', leaked, re.M), leaked)


# One allocation in 64 KiB had its stack recorded: the ten of stack 1, 20,000 bytes each, stand for
# as many more; so do the two of stack 2, for which the file says it.
SAMPLED = profile_of(
    'option stacks sampled', 'option sample 64K', 'stack 1 0 700000000101', 'branch 2 0 1 1 700000000201',
    'site 1 38 760000 0 0', 'reach 1 0 3 60000', 'reach 0 32 5 160',
    'leak 1 20000 direct remaining 10 200000 1 2', 'leak 2 0 indirect reclaimed 2 16 3 4 20 160',
    'leak 0 20000 direct remaining 28 560000 1 2')
WEIGHT = 1 / (1 - math.exp(-20000 / 65536))


def report_estimates(stage):
    """Where stacks were sampled every form has unbiased estimates, and counts where it has a place."""
    path = stage.write('estimates.profile', SAMPLED)
    ten, three = (round(n * WEIGHT) for n in (10, 3))
    text = succeed(stage.call('report', path))
    expect('Direct leak of 200000 byte(s) in 10 object(s)' in text, text)
    expect(f'    (about {round(200000 * WEIGHT)} byte(s) in {ten} object(s), with those whose stack was '
           'not sampled)' in text and '(about 160 byte(s) in 20 object(s)' in text, text)
    expect(text.count('(about ') == 2, f'what has no stack stands for nothing: {text}')
    data = json.loads(succeed(stage.call('report', '--json', path)))
    leaks = [(leak['stack'], leak['blocks'], leak['estimated_blocks'], leak['estimated_bytes'])
             for leak in data['leaks']]
    expect(leaks == [(1, 10, ten, round(200000 * WEIGHT)), (2, 2, 20, 160), (0, 28, 0, 0)], leaks)
    expect([one['estimated_blocks'] for one in data['reach']] == [three, 0], data['reach'])
    expect(data['sampled'] is True and len(data['stacks']['2']) == 2, data['stacks'])
    for kind, wanted in (('leaked', round(200000 * WEIGHT) + 160), ('reachable', round(60000 * WEIGHT)),
                         ('allocated', 760000), ('live', 760000)):
        folded = succeed(stage.call('report', '--folded', '--sample', kind, path))
        found = sum(int(line.rpartition(' ')[2]) for line in folded.splitlines())
        expect(found == wanted and 'no stack' not in folded, f'{kind}: {folded}')


def report_estimates_pprof(stage):
    """Values as Go has them: estimates, with the mean distance of the samples as the period."""
    packed = stage.path('estimates.pb.gz')
    path = stage.write('estimates.profile', SAMPLED)
    succeed(stage.call('report', '--pprof', '--output', packed, path))
    text = decoded(stage, packed)
    values = [re.findall(r'  value: (\d+)', sample) for sample in
              re.findall(r'^sample \{\n(.*?)^\}', text, re.M | re.S)]
    leaked = sorted(tuple(int(n) for n in value[4:]) for value in values)
    expect(leaked == [(20, 160), (round(10 * WEIGHT), round(200000 * WEIGHT))], leaked)
    expect(re.search(r'^period: 65536$', text, re.M), text[-300:])
    exact = stage.path('exact.pb.gz')
    succeed(stage.call('report', '--pprof', '--output', exact, leaks_profile(stage)))
    expect(re.search(r'^period: 1$', decoded(stage, exact), re.M), 'each has its stack')


def report_unbiased(stage):
    """A real program, sampled: the estimates of all stacks together are what was counted."""
    path = stage.profile('sampled', stage.leaks(), '60000', options='sample=4096,mode=report')
    data = json.loads(succeed(stage.call('report', '--json', path)))
    counted = sum(leak['blocks'] for leak in data['leaks'])
    estimated = sum(leak['estimated_blocks'] for leak in data['leaks'])
    recorded = sum(leak['blocks'] for leak in data['leaks'] if leak['stack'] != 0)
    # Each block is sampled or not: the estimate's deviation is weight * sqrt(recorded) at most.
    weight = estimated / recorded
    expect(recorded < counted / 5 and weight > 5, (recorded, counted))
    expect(abs(estimated - counted) < 5 * weight * math.sqrt(recorded), (estimated, counted))
    return f'{recorded} of {counted} blocks had a stack, and stand for {estimated}'


def report_unrecorded(stage):
    """A profile without stacks says why, in each form that has a place for it."""
    path = stage.profile('unrecorded', stage.leaks(), '10', options='stacks=none,mode=report')
    text = succeed(stage.call('report', path))
    expect('no stack recorded for blocks of 112 bytes: stacks=none)' in text, text)
    forgot = stage.write('forgot.profile', profile_of('forgotten 7'))
    told = succeed(stage.call('report', forgot))
    expect('libgcmalloc: 7 unloaded module(s) were not kept' in told and 'not kept' not in text, told)
    expect(json.loads(succeed(stage.call('report', '--json', forgot)))['forgotten_modules'] == 7, told)
    for shown in (text, succeed(stage.call('reachable', path))):
        expect(shown.count('libgcmalloc: no stacks were recorded: stacks=none\n') == 1, shown)
    expect(json.loads(succeed(stage.call('report', '--json', path)))['unrecorded'] == 'stacks=none',
           'JSON does not say it')
    packed = stage.path('unrecorded.pb.gz')
    succeed(stage.call('report', '--pprof', '--output', packed, path))
    expect('string_table: "stacks=none"' in decoded(stage, packed), 'pprof does not say it')


def report_suppressed(stage):
    """LeakSanitizer's patterns; what they matched is counted, and is no reason for --exitcode."""
    path = leaks_profile(stage)
    for pattern, matches in [('middle', True), ('^midd', True), ('ddle$', True), ('^ddle', False),
                             ('mid$', False), ('m*le', True), ('leaks.c', True), ('/leaks', True),
                             ('^outer$', True), ('no_such', False), ('^m*d*e$', True)]:
        name = stage.write('suppressions', f'# known\n\nleak:{pattern}\n')
        result = stage.call('report', '--suppressions', name, '--exitcode', '23', path)
        text = succeed(result, 0 if matches else 23)
        expect(('detected memory leaks' in text) != matches, f'{pattern}: {text[:300]}')
        counted = re.search(r'^ +10 +960 ' + re.escape(pattern) + '$', text, re.M)
        expect(bool(counted) == matches, f'{pattern}: not counted in {text}')


def report_max_leaks(stage):
    path = stage.profile('plugins', stage.leaks(), '0', *stage.plugins())
    one = succeed(stage.call('report', '--max-leaks', '1', path))
    expect(len(leak_report.Report(one).groups) == 1, one)
    expect('libgcmalloc: 1 more site(s), 160 byte(s) in 1 object(s), are not shown' in one, one)
    expect(leak_report.Report(one).summary == 2, 'the summary leaves the others out')
    every = succeed(stage.call('report', '--max-leaks', '0', path))
    expect(len(leak_report.Report(every).groups) == 2, every)


def diff_runs(stage):
    """Two runs of the same program have other addresses; 0 equal, 1 grown."""
    few, many, none = (leaks_profile(stage, n) for n in (10, 25, 0))
    grown = succeed(stage.call('diff', few, many), 1)
    expect('increased: 2400 (+1440) byte(s) in 25 (+15) object(s) are leaked' in grown, grown)
    expect('    #0 ' in grown and ' in innermost ' in grown, grown)
    new = succeed(stage.call('diff', none, few), 1)
    expect('new: 960 (+960) byte(s) in 10 (+10) object(s) are leaked' in new, new)
    expect('still reachable, allocated' not in new, f'what is reachable did not grow: {new}')
    again = stage.profile('leaks-again', stage.leaks(), '10')
    same = succeed(stage.call('diff', few, again))
    expect('(+0) byte(s) in 10 (+0) allocation(s) are leaked.' in same, same)
    succeed(stage.call('diff', many, few))


def diff_sampled(stage):
    """Two samples of a program that leaks 20,000 blocks more: within six deviations."""
    options = 'stacks=sampled,sample=4K,mode=report'
    few, many = (stage.profile(f'sampled-{n}', stage.leaks(), str(n), options=options)
                 for n in (10000, 30000))
    text = succeed(stage.call('diff', few, many), 1)
    more, = re.findall(r'^increased: about \d+ \(\+(\d+)\) byte\(s\) in \d+ \(\+(\d+)\) object\(s\) '
                       r'are leaked', text, re.M)
    chance = 1 - math.exp(-112 / 4096)
    deviation = math.sqrt(40000 * (1 - chance) / chance)
    expect(abs(int(more[1]) - 20000) < 6 * deviation, f'{more} more, deviation {deviation:.0f}')
    expect(abs(int(more[0]) - 96 * int(more[1])) <= 96, f'{more}: not rounded')
    expect(' in innermost ' in text, text)
    expect('the numbers above are estimates: one allocation in 4096 bytes' in text, text)
    expect(' in 30000 (+20000) allocation(s) are leaked.' in text, text)
    expect('no stack' not in text, f'what others stand for is listed again: {text}')
    expect(' in keep ' not in text, f'large blocks always have their stack: {text}')


def reachable_sites(stage):
    """Largest first; with stacks=sampled it says that these are estimates."""
    text = succeed(stage.call('reachable', leaks_profile(stage)))
    sizes = [int(n) for n in re.findall(r'^(\d+) byte\(s\) in', text, re.M)]
    expect(sizes == sorted(sizes, reverse=True) and 200000 in sizes and 100000 in sizes, sizes)
    first = text[text.index('200000 byte'):].split('\n')[1]
    expect(re.search(r' in keep .*/leaks\.c:\d+', first), first)
    sampled = stage.write('sampled.profile', profile_of(
        'option stacks sampled', 'option sample 64K', 'stack 1 0 700000000101',
        'reach 1 0 10 200000', 'reach 0 32 5 160'))
    text = succeed(stage.call('reachable', sampled))
    weight = 1 / (1 - math.exp(-20000 / 65536))
    expect(f'About {200000 * weight:.0f} byte(s) in {10 * weight:.0f} object(s)' in text, text)
    expect('estimates: one allocation in 65536 bytes' in text, text)
    expect('200160 byte(s) in 15 allocation(s) are still reachable.' in text, text)


def trace_nested(stage):
    """Slices of a track are apart or one in the other; every cycle is there."""
    path = stage.profile('cycles', stage.leaks(), '3000',
                         options='stress=500,min_heap=0,stacks=none')
    data = json.loads(succeed(stage.call('trace', path)))
    events = data['traceEvents']
    slices = {}
    for e in events:
        if e['ph'] == 'X':
            slices.setdefault(e['tid'], []).append((round(e['ts'] * 1000), -round(e['dur'] * 1000),
                                                    e['name']))
    for track in slices.values():
        ends = []
        for begin, negative, name in sorted(track):
            while ends and ends[-1] <= begin:
                ends.pop()
            expect(not ends or begin - negative <= ends[-1], f'{name} at {begin} reaches out')
            ends.append(begin - negative)
    with open(path, encoding='utf-8') as lines:
        kinds = [line.split()[0:2] for line in lines if line.startswith('cycle ')]
    names = {e['name'] for e in events if e['ph'] == 'X'}
    expect({f'cycle {number}' for _, number in kinds} <= names, names)
    expect({'FINAL', 'SWEEP', 'stopped'} <= names, names)
    threads = {e['args']['name'] for e in events if e['ph'] == 'M'}
    expect('leaks' in threads and 'collector: cycles' in threads, threads)
    expect([e for e in events if e['ph'] == 'C' and e['name'] == 'heap'], 'no counter of the heap')


CASES = [report_inlined, report_clang, report_cxx, report_plugins, report_stripped, report_rebuilt,
         report_seconds, report_json, report_pprof, report_pprof_tool, report_html,
         report_folded, report_estimates, report_estimates_pprof, report_unbiased, report_unrecorded,
         report_suppressed, report_max_leaks, diff_runs, diff_sampled, reachable_sites, trace_nested]
