"""run_abi.py --build DIR -- runs the programs of tests/abi under the library and judges how they end.

    --build DIR     build directory with the programs and, unless --preload, the library
    --preload PATH  another library; `none` runs every program plainly, which it must survive too
    --only A,B      only tests whose name contains one of these
    --jobs N        programs at a time (2)
    --long          larger inputs, more settings
    --every N       one row in N, by a hash of the name
    --verbose       show what each program printed

A test is a row of TESTS: what is run, the value of GCMALLOC, and a function that looks at the result
and returns what is wrong with it, or None. Where only the library can give the expected answer (a leak
report, an abort at a double free) the row says so, and other preloads leave it out.
"""

import argparse
import collections
import concurrent.futures
import os
import re
import signal
import sys
import tempfile
import zlib

import leak_report
from harness import Tally, clean_env, run, signal_name

EAGER = 'confirm=1,probation=0,min_heap=0'

Test = collections.namedtuple('Test', 'name argv options judge only_library wrap env timeout')


def test(name, argv, options, judge, only_library=False, wrap=(), env=None, timeout=120):
    return Test(name, argv.split(), options, judge, only_library, list(wrap), env or {}, timeout)


# ---- judges -------------------------------------------------------------------------------------


def ends_well(out=None):
    """Exit status 0, the output expected, not a word from the library."""
    def judge(result, context):
        if result.status != 0:
            return f'ended with {signal_name(result.status)}'
        if out is not None and out not in result.out_text:
            return f'printed {result.out_text[-200:]!r}, not {out!r}'
        spoken = leak_report.complaints(result.err_text)
        return f'the library complains: {spoken[0]}' if spoken else None
    return judge


def dies_of(number, out):
    """The program's own death, not the library's: that would say a word."""
    def judge(result, context):
        if result.status != -number:
            return f'ended with {signal_name(result.status)}, not {signal_name(-number)}'
        return None if out in result.out_text else f'printed {result.out_text[-200:]!r}, not {out!r}'
    return judge


def both(*judges):
    def judge(result, context):
        for part in judges:
            wrong = part(result, context)
            if wrong:
                return wrong
        return None
    return judge


def silent(result, context):
    """For a program that leaks nothing: nothing on standard error at all."""
    if result.err:
        return f'standard error is not empty: {result.err_text[:400]!r}'
    return None


def all_memory_kept(result, context):
    """The load leaks, the kept blocks must not be in the report."""
    report = leak_report.Report(result.err_text)
    for group in report.groups:
        if not group.passes('pressure'):
            return (f'reports {group.objects} reachable object(s) of {group.size} bytes, from '
                    + ' < '.join(group.frames[:4]))
    if context.is_library and not report.groups:
        return 'no leak report, though the load leaks'
    return None


def control_is_found(result, context):
    report = leak_report.Report(result.err_text)
    found = report.objects_of('kept_block')
    return None if found == 7 else f'{found} of 7 disguised blocks are in the report'


def structure_reported(total, allowance, reclaimed):
    """Every node once, direct or indirect, and in collect mode reclaimed before the end; `allowance`
    for words left on stacks by accident."""
    def judge(result, context):
        report = leak_report.Report(result.err_text)
        found = report.objects_of('make_node')
        if not total - allowance <= found <= total:
            return f'{found} of {total} nodes are in the report'
        if reclaimed and report.objects_of('make_node', reclaimed=True) != found:
            return f'{report.objects_of("make_node", reclaimed=False)} nodes were not reclaimed'
        return None
    return judge


def go_literature(result, context):
    """About a cycle a block; nothing left; little memory used on the way."""
    cycles = leak_report.gctrace(result.err_text)
    if not 15 <= len(cycles) <= 25:
        return f'{len(cycles)} cycles, Go has 20'
    leaky = [c for c in cycles if c[1] >= 47 and c[3] < 5]
    if len(leaky) < 10:
        return f'only {len(leaky)} cycles read like 47->47->0 MB'
    if cycles[-1][3] >= 5 and cycles[-1][3] > 96:
        return f'the last cycle leaves {cycles[-1][3]} MB live'
    if result.maxrss_kb >= 350 * 1024:
        return f'peak resident memory {result.maxrss_kb // 1024} MB'
    return None


def aborts_naming_address(result, context):
    words = result.out_text.split()
    if 'still' in words or len(words) < 2:
        return f'was not stopped: printed {result.out_text!r}'
    if result.status != -signal.SIGABRT:
        return f'ended with {signal_name(result.status)}'
    lines = result.err_text.splitlines()
    spoken = leak_report.complaints(result.err_text)
    if len(spoken) != 1 or not lines or lines[0] != spoken[0]:
        return f'not one clear line: {result.err_text[:400]!r}'
    for address in (word for word in words[:2] if word != '-'):
        if not re.search(r'\b%s\b' % address, spoken[0]):
            return f'the line does not name {address}: {spoken[0]!r}'
    return None


def names_options(*keys):
    """One line each for the options that are wrong, and nothing else from the library."""
    def judge(result, context):
        if result.status != 0:
            return f'ended with {signal_name(result.status)}'
        spoken = leak_report.complaints(result.err_text)
        if len(spoken) != len(keys):
            return f'{len(spoken)} lines for {len(keys)} bad options: {spoken}'
        for key, line in zip(keys, spoken):
            if key not in line:
                return f'the line for {key} does not name it: {line!r}'
        return None
    return judge


def output_of_plain(result, context):
    if result.status != 0:
        return f'ended with {signal_name(result.status)}'
    if not re.fullmatch(r'sum [0-9a-f]{16}\n', result.out_text):
        return f'printed {result.out_text!r}'
    if context.plain_output and result.out_text != context.plain_output:
        return f'printed {result.out_text!r}, plainly {context.plain_output!r}'
    return None


def leaks_or_reason(result, context):
    """Leaks are reported, or a line says why nothing was collected."""
    report = leak_report.Report(result.err_text)
    if report.groups or leak_report.complaints(result.err_text):
        return None
    return f'neither a report nor a reason: {result.err_text[:300]!r}'


def reason_given(result, context):
    spoken = leak_report.complaints(result.err_text)
    return None if spoken else f'does not say why nothing was collected: {result.err_text[:300]!r}'


def reports_leaks(result, context):
    report = leak_report.Report(result.err_text)
    if not report.groups:
        return f'no leak report: {result.err_text[:300]!r}'
    if report.summary is None:
        return 'the report has no SUMMARY line'
    return None


def collects_or_says_why_once(result, context):
    """Leaks are reported; if the library could not collect at last, one line says why."""
    spoken = leak_report.complaints(result.err_text)
    reasons = [line for line in spoken if 'nothing was collected' in line]
    if len(spoken) > 1 or len(reasons) != len(spoken):
        return f'{len(spoken)} lines instead of one reason: {spoken[:4]}'
    if not reasons and not leak_report.Report(result.err_text).groups:
        return f'neither a report nor a reason: {result.err_text[:300]!r}'
    return None


def report_in_file(result, context):
    if result.err:
        return f'standard error is not empty: {result.err_text[:300]!r}'
    names = [n for n in os.listdir(context.scratch) if re.fullmatch(r'leaks\.\d+\.txt', n)]
    if len(names) != 1:
        return f'report files: {sorted(os.listdir(context.scratch))}'
    with open(os.path.join(context.scratch, names[0]), encoding='utf-8') as report:
        return None if leak_report.Report(report.read()).groups else 'the file has no report'


def names_are_left_out(result, context):
    """Modules and offsets only, and the line that says for how many frames."""
    frames = [frame for group in leak_report.Report(result.err_text).groups for frame in group.frames]
    if not frames or any(not re.match(r' \(/.*\+0x[0-9a-f]+\)', frame) for frame in frames):
        return f'not all frames are a module and an offset: {frames[:3]}'
    said = re.findall(r'\(symbolize_seconds\) was over: (\d+) frame', result.err_text)
    return None if said == [str(len(frames))] else f'says {said}, has {len(frames)} frames'


def silent_on_names(result, context):
    return 'symbolize_seconds' in result.err_text and 'names are left out' or None


def prints_options(result, context):
    missing = [key for key in ('mode', 'percent', 'stress', 'report') if key not in result.err_text]
    return f'help does not mention {missing}' if missing else None


# ---- what is run ----------------------------------------------------------------------------------

REACHABLE = '''data bss tls tls_data plugin_data plugin_bss plugin_tls interior last_byte past_end
large_interior pool_private pool_shared pool_memfd pool_shm pool_file pool_read_only chain keys thread_tls
thread_plugin_tls thread_stack thread_keys main_stack register register_scratch register_vector
coroutine_mapped coroutine_heap coroutine_running alternate_stack thread_argument thread_result
exit_argument environment stream'''.split()

THREADS = 'exchange short detached destructors main_leaves cancel masked'.split()

BLOCKING = 'sleepers handlers actions cancel vfork'.split()

STACKS = '''jump_heap jump_mapped jump_signal jump_running context_heap context_mapped context_signal context_running deep remapped twice twice_large twice_moving sysv none
none_shared none_moving read_only_view tagged in_jmp_buf'''.split()

ENDINGS = '''exit exit_thread main_leaves quick_exit at_once daemon exec_thread chain forks close_all
first_open'''.split()

PRIVILEGES = '''undumpable drop chroot read_only no_proc address_space no_files few_files full_table'''.split()

PROMISES = '''too_large alignments no_bytes usable calloc_borders realloc free_errno obstack from_libc
    cfree'''.split()
ACCOUNTS = 'sums old_interface moves trim document document_flags stats mallopt'.split()
CROWDS = 'relay leave_nothing fork_in_handler fork_and_streams'.split()
OWN_LIMITS = 'setrlimit prlimit syscall twice refused vfork'.split()

ASKS = 'poll epoll read sem_wait nanosleep computes allocates threads storm snapshot descriptors sandbox'.split()

BAD_FREES = '''double_small double_large double_huge double_neighbours double_thread interior_small
interior_large misaligned stack data never beyond'''.split()


def reachable_tests(long):
    settings = [('', 'stress=500')] + ([('_50', 'stress=50'), ('_5000', 'stress=5000')] if long else [])
    for suffix, stress in settings:
        for kind in REACHABLE:
            yield test(f'reachable_{kind}{suffix}', f'reachable {kind} free PLUGIN_places',
                       f'{EAGER},stacks=all,{stress}', both(ends_well(), silent))
            yield test(f'reachable_{kind}_leaking{suffix}', f'reachable {kind} leak PLUGIN_places',
                       f'{EAGER},stacks=all,max_leaks=0,{stress}', both(ends_well(), all_memory_kept))
        yield test(f'reachable_control{suffix}', 'reachable hidden free PLUGIN_places',
                   f'{EAGER},stacks=all,{stress}', both(ends_well(), control_is_found), True)


def dropped_tests(long):
    options = f'{EAGER},stacks=all,max_leaks=0'
    sizes = [('tree', 1000000, 5), ('list', 200000, 5), ('ring', 100000, 0), ('cycle', 3, 0)]
    for kind, count, allowance in sizes:
        for mode in ['collect', 'report']:
            yield test(f'dropped_{kind}_{mode}', f'dropped {kind} {count}', f'{options},mode={mode}',
                       both(ends_well(), structure_reported(count, allowance, mode == 'collect')), True)
    if long:
        for stress in [5000, 50000]:
            yield test(f'dropped_tree_stress_{stress}', 'dropped tree 300000',
                       f'{options},stress={stress}',
                       both(ends_well(), structure_reported(300000, 5, True)), True)


PINS = '''pinned counted ignored reused added included toggled leaves arguments forked threads'''.split()
# What nothing keeps: the program finds other bytes there.
LOST = 'ended excluded leaf_small leaf_large'.split()


def loses(result, context):
    lost = re.findall(r'^lost (\d+)$', result.out_text, re.M)
    return None if lost and '0' not in lost else f'nothing was reclaimed: {result.out_text!r}'


def tells_why(result, context):
    """The way to a leaf behind two blocks; and that of a pinned block."""
    want = (r'static data of \S*/pins\+0x[0-9a-f]+\n'
            r'block of 24 bytes at 0x\w+ allocated from make_held \(.*\)\n'
            r'block of 40 bytes at 0x\w+ allocated from make_held \(.*\)\n'
            r'block of 77 bytes at 0x\w+ allocated from .*\n'
            r'pinned or ignored by the program\nblock of 77 bytes .*\ndone\n')
    return None if re.fullmatch(want, result.out_text) else f'printed {result.out_text!r}'


def pins_tests(long):
    for barrier in ['uffd', 'mprotect', 'full']:
        for stress in [500] + ([50, 5000] if long else []):
            options = f'{EAGER},report=off,barrier={barrier},stress={stress}'
            for kind in PINS:
                yield test(f'pins_{kind}_{barrier}_{stress}', f'pins {kind}', options, ends_well('done'))
            for kind in LOST:
                yield test(f'pins_{kind}_{barrier}_{stress}', f'pins {kind}', options,
                           both(ends_well('done'), loses), True)
            yield test(f'pins_pool_{barrier}_{stress}', 'pins pool', options,
                       both(ends_well('done'), ends_well('dropped most')), True)
    for mode in ['off', 'report', 'collect']:
        for kind in [k for k in PINS if mode != 'off' or k != 'arguments' and k != 'reused']:
            yield test(f'pins_{kind}_mode_{mode}', f'pins {kind}', f'report=off,mode={mode}',
                       ends_well('done'))
    yield test('pins_why', 'pins why', 'report=/dev/null,stacks=all', both(ends_well('done'), tells_why), True)


def thread_tests(long):
    for stress in [1000] + ([100, 20000] if long else []):
        options = f'{EAGER},report=off,stress={stress}'
        for kind in THREADS:
            yield test(f'threads_{kind}_{stress}', f'threads {kind}', options, ends_well('done'))
        for kind in ['busy', 'chain', 'exec']:
            yield test(f'forks_{kind}_{stress}', f'forks {kind}', options, ends_well('done'))
    yield test('forks_report', 'forks chain', f'{EAGER},stacks=all', both(ends_well('done'),
               reports_leaks), True)
    yield test('threads_masked_collects', 'threads masked', f'{EAGER},stress=2000',
               both(ends_well('done'), reports_leaks), True)


KERNEL_HELD = {
    'kernel_held': 'epoll epoll_many epoll_dup epoll_fork epoll_moving timer timer_moving '
                   'timer_thread aio names',
    'in_flight': 'pipe packets fifo big_pipe duplicated half_closed table_left stream datagrams sequence rights named '
                 'connections inherited namespace not_accepted main_gone posix system value thread_value '
                 'notified notified_again notified_thread moving moving_posix moving_system moving_value '
                 'ends',
}


def kernel_held_tests(long):
    settings = [('uffd', 20000), ('full', 20000)]
    if long:
        settings += [('mprotect', 20000), ('uffd', 2000), ('full', 2000)]
    for barrier, stress in settings:
        for program, kinds in KERNEL_HELD.items():
            for kind in kinds.split():
                yield test(f'{program}_{kind}_{barrier}_{stress}', f'{program} {kind}',
                           f'{EAGER},report=off,barrier={barrier},stress={stress}',
                           both(ends_well('done'), silent))


def reclaims(result, context):
    """Collections were not given up: nearly all that the load lost was reclaimed meanwhile."""
    found = re.search(r'libgcmalloc: (\d+) byte\(s\) in \d+ allocation\(s\) of these were reclaimed',
                      result.err_text)
    bytes_back = int(found.group(1)) if found else 0
    return None if bytes_back > LOAD * 3 // 4 else f'{bytes_back} bytes were reclaimed: {result.err_text[-300:]!r}'


LOAD = 100 << 20
# As containers have it whose filter allows pidfd_getfd to debuggers only.
REFUSED = ['pidfd_getfd EPERM', 'pidfd_getfd ENOSYS', 'pidfd_open EPERM']


def refusing_tests(long):
    """The descriptors of the program are not lent. Whatever the answer, it is treated alike."""
    for refused in REFUSED:
        wrap = ['ABI_refusing'] + refused.split()
        name = refused.replace(' ', '_')
        all_kinds = long or refused == REFUSED[0]
        kinds = KERNEL_HELD['in_flight'] if all_kinds else 'pipe datagrams'
        for barrier in ['uffd', 'mprotect'] if long else ['uffd']:
            options = f'{EAGER},barrier={barrier},stress=20000'
            for kind in kinds.split():
                yield test(f'{name}_{kind}_{barrier}', f'in_flight {kind}', f'{options},report=off',
                           both(ends_well('done'), silent), wrap=wrap)
            yield test(f'{name}_reclaims_{barrier}', 'in_flight pipe', options,
                       both(prints_done, reclaims), True, wrap=wrap)


HIDDEN = 12


def names_touches(words, stack):
    """Each of the blocks is named, with its size and both stacks; one word that looks like a pointer
    may keep one of them."""
    def judge(result, context):
        texts = result.err_text.split('libgcmalloc: shakedown: ')[1:]
        named = {}
        for text in texts:
            used, _, made = text.partition('  allocated from:\n')
            if f'the program {words} a block' not in used and 'reads from a block' not in used:
                return f'a text begins {text[:120]!r}'
            size, address = re.search(r'(\d+) bytes at (0x\w+)', used).groups()
            named[address] = size
            if ' in hide ' not in made:
                return f'a stack is missing: {text!r}'
        if not HIDDEN - 2 <= len(named) <= HIDDEN or set(named.values()) != {'24', '5000', '300000'}:
            return f'{len(named)} of {HIDDEN} blocks are named: {named}'
        touches = sum(f'the program {words} a block' in text and f' in {stack} ' in text for text in texts)
        return None if touches >= HIDDEN - 2 else f'{touches} of {HIDDEN} texts name what was done, and where'
    return judge


def withholds_in_vain(result, context):
    if result.status != 0 or 'libgcmalloc: shakedown: ' in result.err_text:
        return f'ended with {signal_name(result.status)}: {result.err_text[:200]!r}'
    if not re.search(r'[1-9]\d* block\(s\) were withheld, 0 of them were used', result.err_text):
        return 'it does not say that blocks were withheld'
    return None


def contradicts(result, context):
    """Back to reporting, said once, and counted."""
    if result.status != 0 or 'done' not in result.out_text:
        return f'ended with {signal_name(result.status)}'
    if result.err_text.count('from now on leaks are only reported') != 1:
        return 'it does not say once that leaks are only reported from now on'
    counted = re.search(r'(\d+) contradiction', result.err_text)
    if not counted or not HIDDEN - 2 <= int(counted.group(1)) <= HIDDEN:
        return f'contradictions: {counted and counted.group(1)} of {HIDDEN}'
    return None


def writes_seen(site):
    """The barrier has seen them, before a block was reclaimed: said once, counted, and named."""
    def judge(result, context):
        if result.err_text.count('the program wrote to a block of') != 1:
            return 'it does not say once that the program wrote to a block'
        counted = re.search(r'(\d+) contradiction.*\n.*: (\d+) of them were writes', result.err_text)
        if not counted or counted.group(1) != counted.group(2):
            return f'contradictions and writes: {counted and counted.groups()}'
        if site and f' in {site} ' not in result.err_text.partition(' of them with blocks')[2]:
            return f'the site {site} is not named'
        leaks = leak_report.Report(result.err_text.partition(' contradiction(s)')[0])
        if leaks.objects_of('make_watched', reclaimed=True):
            return 'a block that is in use was reclaimed'
        return None
    return judge


def trusted(result, context):
    """No contradiction, and leaks were reclaimed."""
    if 'contradiction' in result.err_text:
        return f'a contradiction: {result.err_text[:300]!r}'
    return None if 'Reclaimed' in result.err_text else 'nothing was reclaimed'


def is_caught(result, context):
    """The control: the program itself finds that its block is another's."""
    found = result.status == 1 and 'failed: pattern_holds' in result.err_text
    return None if found else f'a reclaimed block was used: {signal_name(result.status)}'


def hidden_tests():
    """Pointers kept as complements: reclaimed without mercy, seen in probation, named by shakedown."""
    touches = {'read': ('reads from', 'read_them'), 'write': ('writes to', 'write_them'),
               'free': ('frees, or resizes,', 'kind_free'), 'resize': ('frees, or resizes,', 'kind_resize'),
               'call': ('gives the kernel', 'pass'), 'vector': ('gives the kernel', 'pass'),
               'handler': ('reads from', 'read_them'), 'faults': ('reads from', 'read_them'),
               'blocked': ('writes to', 'write_them')}
    for barrier in ['uffd', 'full']:
        for kind, (words, stack) in touches.items():
            yield test(f'hidden_{kind}_shakedown_{barrier}', f'hidden {kind}',
                       f'mode=shakedown,report=off,min_heap=0,stacks=all,confirm=1,stress=1000,barrier={barrier}',
                       both(prints_done, names_touches(words, stack)), True)
    yield test('hidden_none_shakedown', 'hidden none',
               'mode=shakedown,min_heap=0,stacks=all,confirm=1,stress=1000', withholds_in_vain, True)
    yield test('hidden_read_reclaimed', 'hidden read', f'{EAGER},report=off,stress=1000', is_caught, True)
    for kind in ['free', 'resize']:
        yield test(f'hidden_{kind}_probation', f'hidden {kind}',
                   'min_heap=0,confirm=1,probation=1000,stress=1000',
                   contradicts, True)
    # A block is due after four marks, so three of them can see a write.
    watching = 'min_heap=0,confirm=4,percent=10'
    for kind in ['beside', 'locked']:
        for barrier in ['uffd', 'mprotect']:
            yield test(f'hidden_{kind}_{barrier}', f'hidden {kind}', f'{watching},barrier={barrier}',
                       both(prints_done, trusted), True)
    for kind in ['pages', 'ranges']:
        for stacks, site in [('all', 'make_watched'), ('none', None)]:
            yield test(f'hidden_{kind}_stacks_{stacks}', f'hidden {kind}',
                       f'{watching},barrier=uffd,stacks={stacks}',
                       both(prints_done, writes_seen(site)), True)


def tells_of_guarded(words, access, parts, end, repeats=1):
    """A report in GWP-ASan's words: what happened and where, the stack of the access, and those of `parts`
    (heading, function); then the program ends as it would have."""
    def judge(result, context):
        text, out = result.err_text, result.out_text.split()
        if result.status != end:
            return f'ended with {signal_name(result.status)}, not {signal_name(end)}'
        if 'never' in out or text.count('*** GWP-ASan detected a memory error ***') != repeats:
            return f'not {repeats} report(s): {result.out_text!r} {text[:400]!r}'
        first = text.splitlines()[1]
        if not first.startswith(words.replace('BAD', out[0]).replace('BLOCK', out[1])):
            return f'says {first!r}'
        sections = [('by thread', access)] + parts + [('*** End GWP-ASan report ***', '')]
        for (heading, function), (following, _) in zip(sections, sections[1:]):
            at = text.find(heading)
            part = text[at:text.find(following, at)]
            if at < 0 or f' in {function}' not in part or not re.search(r'by thread \d+ here:', part):
                return f'no {function} under {heading!r}: {part[:400]!r}'
        for heading in ['deallocated', 'allocated by']:
            if (f' was {heading}' in text) != any(heading in name for name, _ in parts):
                return f'{heading!r} is there, or is not: {text[:400]!r}'
        return None
    return judge


def guard_tests(long):
    """Each block is guarded, while there is room."""
    both_stacks = [('was deallocated by', 'free_site'), ('was allocated by', 'allocation_site')]
    one_stack = [('was allocated by', 'allocation_site')]
    after = 'Use After Free at BAD (0 bytes into a 48-byte allocation at BLOCK) by thread '
    dies, aborts = -signal.SIGSEGV, -signal.SIGABRT
    kinds = {f'over_{size}': (f'Buffer Overflow at BAD (0 bytes to the right of a {size}-byte allocation at '
                              'BLOCK) by thread ', 'write_site', one_stack, dies)
             for size in [16, 48, 4096]}
    kinds['under'] = ('Buffer Underflow at BAD (1 byte to the left of a 48-byte allocation at BLOCK) ',
                      'read_site', one_stack, dies)
    for kind, access, end in [('read', 'read_site', dies), ('write', 'write_site', dies),
                              ('handled', 'fault_twice', 0), ('alternate', 'fault_twice', 0),
                              ('blocked', 'write_site', dies), ('forked', 'write_site', dies),
                              ('realloc', 'kind_realloc', aborts), ('usable', 'kind_usable', aborts)]:
        kinds[kind] = (after, access, both_stacks, end)
    kinds['double'] = ('Double Free at BAD (a 48-byte allocation) by thread ', 'free_site', both_stacks,
                       aborts)
    kinds['wild'] = ('Invalid (Wild) Free at BAD (16 bytes into a 48-byte allocation at BLOCK) by thread ',
                     'free_site', one_stack, aborts)
    for kind, expected in kinds.items():
        for name, options in [('off', 'mode=off'), ('none', 'stacks=none'), ('all', 'stacks=all')]:
            if name == 'off' or long or kind in ('write', 'double'):
                yield test(f'guard_{kind}_{name}', f'guard {kind}', f'{options},report=off,guard=1',
                           tells_of_guarded(*expected), True)
    for suffix, options in back_ends(long, 20):
        for kind in ['handled', 'blocked', 'over_48']:
            yield test(f'guard_{kind}_{suffix}', f'guard {kind}', f'{options},report=off,guard=1',
                       tells_of_guarded(*kinds[kind]), True)
    for n in [0, 1]:
        for kind in ['own', 'sent']:
            yield test(f'guard_{kind}_{n}', f'guard {kind}', f'report=off,guard={n}',
                       both(dies_of(signal.SIGSEGV, ''), silent))
        yield test(f'guard_actions_{n}', 'guard actions', f'report=off,guard={n}',
                   both(ends_well('done'), silent))
    for suffix, options in back_ends(long, 20000):
        for kind in ['right', 'holder', 'forks']:
            for n in [1, 50]:
                yield test(f'guard_{kind}_{n}_{suffix}', f'guard {kind}',
                           f'{options},report=off,guard={n}', both(ends_well('done'), silent))
    yield test('guard_bad_value', 'plain 1', 'report=off,guard=-1,guard=often',
               names_options('guard', 'guard'), True)
    yield test('guard_shakedown', 'plain 1', 'report=off,mode=shakedown,guard=10',
               names_options('guard does not go with mode=shakedown'), True)
    for name, options in [('off', 'mode=off'), ('stress', f'{EAGER},stress=500')]:
        yield test(f'guard_sandbox_{name}', 'sandbox prctl', f'{options},report=off,guard=1',
                   both(ends_well('done'), silent))


FINALIZER_KINDS = ['once', 'used', 'order', 'rings', 'resurrected', 'again', 'frees', 'quits', 'asks', 'sizes',
                   'reused', 'bad', 'handed', 'cache', 'lost', 'weaks', 'many', 'forked', 'forks', 'blocks', 'leaves', 'exits']
# These ask for their cycles.
FINALIZER_ASKING = ['confirmed', 'child', 'pinned', 'stats']
FINALIZER_UNCOUNTED = ['handed', 'cache', 'lost', 'reused', 'bad']  # guarded blocks are never finalized


def finalizer_tests(long):
    """gcmalloc.h, with the library in several modes; `never` says that nothing may be called."""
    barriers = ['uffd', 'mprotect', 'full']
    settings = [('inline', 'stress=200')] + [(b, f'stress=1000,barrier={b}') for b in barriers]
    often = [('thrice', 'stress=100,confirm=3')] + [(f'often_{b}', f'stress=100,barrier={b}') for b in barriers]
    for kind in FINALIZER_KINDS:
        for name, options in settings + (often if long else []):
            yield test(f'finalizers_{kind}_{name}', f'finalizers {kind}', f'{EAGER},report=off,{options}',
                       ends_well('done'), True)
    for kind in FINALIZER_ASKING:
        for barrier in ['auto'] + barriers:
            yield test(f'finalizers_{kind}_{barrier}', f'finalizers {kind}',
                       f'{EAGER},{"confirm=3," if kind == "confirmed" else ""}report=off,barrier={barrier}',
                       ends_well('done'), True)
    for kind in FINALIZER_UNCOUNTED:
        yield test(f'finalizers_{kind}_guard', f'finalizers {kind}', f'{EAGER},report=off,stress=300,guard=10',
                   ends_well('done'), True)
    never = {'off': 'mode=off', 'report': f'mode=report,{EAGER},stress=1000',
             'probation': 'confirm=1,probation=1000,min_heap=0,stress=1000'}
    for kind in FINALIZER_KINDS + FINALIZER_ASKING:
        for name, options in never.items():
            if (kind, name) != ('asks', 'probation'):
                yield test(f'finalizers_{kind}_{name}', f'finalizers {kind} never', f'{options},report=off',
                           ends_well('done'))
    for name, options, text in [('collect', 'confirm=1,probation=0', 'most are gone now'), ('off', 'mode=off', 'they stay')]:
        yield test(f'finalizers_example_{name}', '../../examples/example_weak_cache', f'{options},report=off',
                   both(ends_well('100 pages made for 200 readings'), ends_well(text)), True)
    yield test('finalizers_crashes', 'finalizers crashes', f'{EAGER},report=off,stress=200',
               dies_of(signal.SIGSEGV, 'crashing'), True)


BDWGC = 'memory uncollectable atomic order rings last replaced demand links going long threads roots forked bad figures'.split()
BDWGC_OWN = ['memory', 'uncollectable', 'bad', 'figures']    # the same whether anything is collected or not


def bdwgc_tests(long):
    """gc.h: programs for Boehm's collector."""
    settings = [('inline', 'stress=200'), ('mprotect', 'stress=2000,barrier=mprotect')]
    if long:
        settings += [('uffd', 'stress=1000,barrier=uffd'), ('full', 'stress=1000,barrier=full'), ('asked', 'report=off'),
                     ('thrice', 'confirm=3,stress=100')]
    for kind in BDWGC:
        for name, options in settings:
            yield test(f'bdwgc_{kind}_{name}', f'bdwgc {kind}', f'{EAGER},{options}', both(ends_well('done'), silent), True)
        own = '' if kind in BDWGC_OWN else ' never'
        for name, options in [('off', 'mode=off')] + ([('report', f'mode=report,{EAGER},stress=1000')] if long else []):
            yield test(f'bdwgc_{kind}_{name}', f'bdwgc {kind}{own}', options, both(ends_well('done'), silent), True)
        yield test(f'bdwgc_{kind}_absent', f'bdwgc {kind}{own} absent', '', both(ends_well('done'), silent))
    for name, options, text in [('collect', 'confirm=1,probation=0', 'most are gone'), ('off', 'mode=off', 'none is gone')]:
        yield test(f'bdwgc_example_{name}', '../../examples/example_boehm', options,
                   both(ends_well('1638200 nodes in 200 trees'), ends_well(text), silent), True)
    yield test('bdwgc_static', 'bdwgc_static links', f'{EAGER},stress=500', both(ends_well('done'), silent), True)
    yield test('bdwgc_cxx', 'bdwgc_cxx', f'{EAGER},stress=500', both(ends_well('done'), silent), True)
    yield test('bdwgc_cxx_off', 'bdwgc_cxx never', 'mode=off', both(ends_well('done'), silent), True)


def sandbox_tests():
    for how in ['prctl', 'syscall']:
        for name, options in [('defaults', 'min_heap=0'), ('stress', f'{EAGER},stress=500'),
                              ('mprotect', f'{EAGER},stress=500,barrier=mprotect'),
                              ('stacks', f'{EAGER},stacks=all'), ('off', 'mode=off')]:
            yield test(f'sandbox_{how}_{name}', f'sandbox {how}', f'report=off,{options}',
                       both(ends_well('done'), silent))
    yield test('sandbox_is_silent', 'sandbox prctl', EAGER, both(ends_well('done'), silent), True)


def blocking_tests(long):
    """A stop of the world cannot succeed while a thread is in vfork(): stop_ms bounds what it waits."""
    settings = [('uffd', 2000), ('full', 2000)] + ([('mprotect', 2000), ('uffd', 200)] if long else [])
    for barrier, stress in settings:
        for kind in BLOCKING:
            yield test(f'blocking_{kind}_{barrier}_{stress}', f'blocking {kind}',
                       f'{EAGER},report=off,barrier={barrier},stress={stress},stop_ms=20',
                       ends_well('done'))


def back_ends(long, stress=1000, often=100):
    """The three ways to collect: (what a row's name ends in, its options)."""
    settings = [(barrier, stress) for barrier in ('uffd', 'mprotect', 'full')]
    if long:
        settings += [(barrier, often) for barrier in ('uffd', 'mprotect', 'full')]
    for barrier, every in settings:
        yield f'{barrier}_{every}', f'{EAGER},barrier={barrier},stress={every}'


def stacks_tests(long):
    for suffix, options in back_ends(long):
        for kind in STACKS:
            yield test(f'stacks_{kind}_{suffix}', f'stacks {kind}', f'{options},report=off',
                       both(ends_well('done'), silent))
        yield test(f'stacks_tagged_above_{suffix}', 'stacks tagged_above',
                   f'{options},report=off,tag_bits=16', both(ends_well('done'), silent))


def endings_tests(long):
    for suffix, options in back_ends(long):
        options += ',report=off'
        for kind in ENDINGS:
            yield test(f'endings_{kind}_{suffix}', f'endings {kind}', options,
                       both(ends_well('done'), silent))
        for kind in ['abort', 'abort_handled']:
            yield test(f'endings_{kind}_{suffix}', f'endings {kind}', options,
                       both(dies_of(signal.SIGABRT, 'done'), silent))
    for kind in ['exit', 'exit_thread', 'main_leaves', 'close_all', 'first_open']:
        yield test(f'endings_{kind}_report', f'endings {kind}', f'{EAGER},stress=5000,stacks=all',
                   both(ends_well('done'), reports_leaks), True)


def storm_tests(long):
    for suffix, options in back_ends(long):
        options += ',report=off'
        for kind in ['writes_prof', 'writes_real', 'allocates_prof', 'allocates_real']:
            for flags in ['restart', 'interrupt', 'onstack']:
                yield test(f'storm_{kind}_{flags}_{suffix}', f'storm {kind} {flags}', options,
                           both(ends_well('done'), silent))
        for kind in ['elapsed', 'sleepers']:
            yield test(f'storm_{kind}_{suffix}', f'storm {kind}', options,
                       both(ends_well('done'), silent))


def privileges_tests(long):
    """Two or three seconds each: one back end in the quick run, and a report for every other kind."""
    reports = [('report', 'stress=5000'), ('report_full', 'barrier=full,stress=5000')]
    for number, kind in enumerate(PRIVILEGES):
        for suffix, options in list(back_ends(long))[:None if long else 1]:
            yield test(f'privileges_{kind}_{suffix}', f'privileges {kind}', f'{options},report=off',
                       both(ends_well('done'), silent))
        for name, options in reports if long else reports[1:] if number % 2 == 0 else []:
            yield test(f'privileges_{kind}_{name}', f'privileges {kind}',
                       f'{EAGER},stacks=all,{options}',
                       both(prints_done, collects_or_says_why_once), True)


def limited(**limits):
    return ['prlimit'] + [f'--{name}={value}' for name, value in limits.items()]


def without_proc():
    user = [] if os.geteuid() == 0 else ['-Ur']
    return ['unshare', '-m'] + user + ['sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh']


def limit_tests():
    for name, limit in [('256m', 268435456), ('64m', 67108864), ('1g', 1 << 30)]:
        yield test(f'limit_as_{name}', 'plain 20', EAGER, output_of_plain, wrap=limited(**{'as': limit}))
        yield test(f'limit_as_{name}_says_why', 'plain 20', EAGER,
                   both(output_of_plain, leaks_or_reason), True, wrap=limited(**{'as': limit}))
    for barrier in ['uffd', 'mprotect', 'full']: # the stack ends where addresses end
        yield test(f'no_aslr_{barrier}', 'plain 20', f'{EAGER},stress=100,barrier={barrier}',
                   output_of_plain, wrap=['setarch', '-R'])
    yield test('limit_data', 'plain 20', EAGER, output_of_plain, wrap=limited(data=64 << 20))
    yield test('limit_arena', 'plain 20', f'{EAGER},arena=1M', output_of_plain)
    yield test('no_proc', 'plain 20', EAGER, output_of_plain, wrap=without_proc())
    yield test('no_proc_stress', 'plain 20', f'{EAGER},stress=100', output_of_plain,
               wrap=without_proc())
    yield test('no_proc_says_why', 'plain 20', EAGER, both(output_of_plain, reason_given), True,
               wrap=without_proc())
    yield test('no_proc_threads', 'threads exchange', f'{EAGER},stress=1000,report=off', runs,
               wrap=without_proc())
    for kind, megabytes in [('as', 64), ('as', 256), ('as', 1000), ('data', 100)]:
        yield test(f'exhaust_{kind}_{megabytes}', f'exhaust {kind} {megabytes}',
                   f'{EAGER},report=off', runs)
    for megabytes in [64, 256, 1000]:
        yield test(f'exhaust_outside_{megabytes}', f'exhaust outside {megabytes}',
                   f'{EAGER},report=off', runs, wrap=limited(**{'as': megabytes << 20}))
    yield test('exhaust_no_files', 'plain 20', EAGER, output_of_plain, wrap=limited(nofile=4))
    yield test('exhaust_off', 'exhaust as 256', 'mode=off', runs)


def own_limit_tests(long):
    """The program limits its own address space."""
    for suffix, options in back_ends(long):
        for kind in OWN_LIMITS if long or suffix.startswith('uffd') else ['setrlimit']:
            for megabytes in [256, 1024] if long else [256]:
                yield test(f'limits_{kind}_{megabytes}_{suffix}', f'limits {kind} {megabytes}',
                           f'{options},report=off', both(ends_well('done'), silent))
    for kind in OWN_LIMITS:
        yield test(f'limits_{kind}_report', f'limits {kind} 256', f'{EAGER},stacks=all,stress=5000',
                   both(prints_done, collects_or_says_why_once), True)
        yield test(f'limits_{kind}_off', f'limits {kind} 256', 'mode=off', both(ends_well('done'), silent))


def prints_done(result, context):
    """Whatever the library says."""
    if result.status != 0:
        return f'ended with {signal_name(result.status)}'
    return None if result.out_text == 'done\n' else f'printed {result.out_text[-200:]!r}'


def runs(result, context):
    """Does its work; what the library says about the circumstances is its business."""
    return f'ended with {signal_name(result.status)}' if result.status != 0 else None


def option_tests():
    yield test('options_unknown', 'plain 1', 'report=off,nonsense=1', names_options('nonsense'), True)
    yield test('options_malformed', 'plain 1', 'report=off,percent=abc,stress=,mode=sometimes',
               names_options('percent', 'stress', 'mode'), True)
    yield test('options_range', 'plain 1', 'report=off,confirm=0,confirm=65,sample=1Q',
               names_options('confirm', 'confirm', 'sample'), True)
    yield test('options_times', 'plain 1', 'report=off,report_every=5x,stop_ms=2m,pause_us=1ms,pause_us=0s',
               names_options('report_every', 'stop_ms', 'pause_us'), True)
    yield test('options_no_value', 'plain 1', 'report=off,gctrace', names_options('gctrace'), True)
    yield test('options_good_empty', 'plain 1', 'report=off,,', both(output_of_plain, silent))
    yield test('options_report_off', 'plain 5', f'{EAGER},report=off', both(output_of_plain, silent))
    yield test('options_mode_off', 'plain 5', 'mode=off', both(output_of_plain, silent))
    yield test('options_mode_report', 'plain 5', f'{EAGER},mode=report,stress=200',
               both(output_of_plain, reports_leaks), True)
    yield test('options_default', 'plain 60', '', both(output_of_plain, reports_leaks), True)
    yield test('options_report_file', 'plain 5', f'{EAGER},report=SCRATCH/leaks.%p.txt',
               both(output_of_plain, report_in_file), True)
    yield test('options_symbolize_none', 'plain 60', f'{EAGER},stacks=all,symbolize_seconds=1us',
               both(output_of_plain, names_are_left_out), True)
    yield test('options_symbolize_all', 'plain 60', f'{EAGER},stacks=all,symbolize_seconds=1h',
               both(output_of_plain, reports_leaks, silent_on_names), True)
    yield test('options_report_nowhere', 'plain 5', f'{EAGER},report=/nonexistent/file', runs)
    for follow, answer in [(0, 'without\n'), (1, 'with\n')]:
        yield test(f'options_follow_{follow}', 'children', f'{EAGER},report=off,follow={follow}',
                   ends_well(answer), True)
    # Also without the library: what it prints then begins with the same letters.
    yield test('children', 'children', f'{EAGER},report=off,stress=500', ends_well('with'))
    yield test('options_help', 'plain 1', 'help=1,report=off', both(output_of_plain, prints_options),
               True)
    yield test('options_conf_missing', 'plain 1', 'report=off', output_of_plain,
               env={'GCMALLOC_CONF': '/nonexistent/file'})


def corner_tests(long):
    big = 1024 if long else 256
    for mode in ['off', 'report', 'collect']:
        options = f'mode={mode},report=off'
        yield test(f'corner_{mode}', f'corner {big}', options, ends_well('all corners hold'))
        yield test(f'corner_cxx_{mode}', 'corner_cxx', options, ends_well('all operators hold'))
    stress = f'{EAGER},stress=200,report=off'
    yield test('corner_stress', f'corner {big}', stress, ends_well('all corners hold'))
    yield test('corner_cxx_stress', 'corner_cxx', stress, ends_well('all operators hold'))
    yield test('foreign_libc', 'foreign libc', stress, ends_well('done'))
    yield test('foreign_plugin', 'foreign plugin PLUGIN_strings', stress, ends_well('done'))
    yield test('startup', 'startup', stress, ends_well('done'))
    yield test('startup_bind_now', 'startup', stress, ends_well('done'), env={'LD_BIND_NOW': '1'})
    yield test('startup_no_leak', 'startup', f'{EAGER},stacks=all', both(ends_well('done'), silent))


def promises_tests(long):
    """What glibc's own tests ask. The figures of malloc are those of a program left alone: under
    stress, cycles give back what the program still counts on finding unused."""
    settings = [('off', 'mode=off'), ('stress', f'{EAGER},stress={100 if long else 2000}')]
    for name, options in settings:
        options += ',report=off'
        for kind in PROMISES:
            yield test(f'promises_{kind}_{name}', f'promises {kind}', options,
                       both(ends_well('done'), silent))
        for kind in CROWDS:
            yield test(f'crowds_{kind}_{name}', f'crowds {kind}', options,
                       both(ends_well('done'), silent))
        yield test(f'crowds_greedy_{name}', 'crowds greedy', options, ends_well('done'),
                   wrap=limited(**{'as': 600 << 20}))
        for kind in ACCOUNTS:
            yield test(f'accounts_{kind}_{name}', f'accounts {kind}', options, ends_well('done'))


def shows_statistics(result, context):
    if not context.is_library:
        return None if 'no figures: libgcmalloc is not loaded' in result.out_text else 'figures of nothing'
    last = re.search(r'after three cycles: .* (\d+) leaks reclaimed', result.out_text)
    return None if last and int(last.group(1)) > 19000 else f'printed {result.out_text!r}'


API_COUNTING = 'exact resized threads rises forked agree sizes'.split()


def api_tests(long):
    """gcmalloc.h. Figures are held against exact ones, so the settings take turns: how blocks are sampled,
    and with which back end cycles run beside it."""
    for name, options in [('defaults', 'report=off'), ('sampled', 'stacks=sampled,sample=2000,exitcode=0'),
                          ('all', 'stacks=all'), ('off', 'mode=off'), ('report', 'mode=report,report=off'),
                          ('guard', 'report=off,guard=20'), ('junk', 'report=off,junk=1')]:
        for kind in API_COUNTING:
            if not (name == 'off' and kind == 'forked') and not (name == 'guard' and kind in ('exact', 'agree', 'resized', 'threads', 'forked')):
                yield test(f'api_{kind}_{name}', f'api {kind}', options, ends_well('done'), True)
    for barrier in ['uffd', 'mprotect', 'full']:
        options = f'{EAGER},report=off,barrier={barrier}'
        for kind in ['collect', 'soon', 'disabled', 'handler', 'rises']:
            yield test(f'api_{kind}_{barrier}', f'api {kind}', options, ends_well('done'), True)
        yield test(f'api_percent_{barrier}', 'api percent', f'confirm=1,probation=0,report=off,min_heap=1M,barrier={barrier}',
                   ends_well('done'), True)
        for kind in ['rises', 'handler', 'soon']:
            yield test(f'api_{kind}_stress_{barrier}', f'api {kind}', options + ',stress=1000',
                       ends_well('done'), True)
    for program in ['header', 'header_fixed', 'header_cxx']:
        yield test(f'api_{program}', program, 'report=off', both(ends_well('done'), silent))
    yield test('api_example_statistics', '../../examples/example_statistics', f'{EAGER},report=off',
               both(ends_well(), shows_statistics))
    yield test('api_absent', 'api absent', 'report=off', both(ends_well('done'), silent))
    yield test('api_off', 'api off', 'mode=off', both(ends_well('done'), silent), True)
    yield test('api_options', 'api options', '', ends_well('done'), True)
    yield test('api_unrecorded', 'api unrecorded', 'report=off', ends_well('done'), True)
    yield test('api_report', 'api report', 'confirm=2,min_heap=0,stacks=all', both(ends_well('done'), silent), True)
    yield test('api_report_nowhere', 'api report_nowhere', 'report=off', prints_done, True)


def all_tests(long):
    yield from api_tests(long)
    yield test('leak_go_literature', 'leak_go', 'percent=100,confirm=1,probation=0,gctrace=1,report=off',
               both(ends_well('dropped 20 blocks'), go_literature), True)
    yield from dropped_tests(long)
    yield from reachable_tests(long)
    yield from corner_tests(long)
    yield from promises_tests(long)
    for kind in BAD_FREES:
        for mode in ['off', 'collect']:
            yield test(f'bad_free_{kind}_{mode}', f'bad_free {kind}', f'mode={mode}',
                       aborts_naming_address, True)
    yield from option_tests()
    yield from limit_tests()
    yield from own_limit_tests(long)
    yield from sandbox_tests()
    yield from guard_tests(long)
    yield from finalizer_tests(long)
    yield from bdwgc_tests(long)
    yield from hidden_tests()
    yield from kernel_held_tests(long)
    yield from refusing_tests(long)
    yield from pins_tests(long)
    yield from thread_tests(long)
    yield from blocking_tests(long)
    yield from stacks_tests(long)
    yield from endings_tests(long)
    yield from storm_tests(long)
    yield from privileges_tests(long)
    yield from asks_tests(long)


def dies_leaking(status):
    """As the option has it, with what the program said all printed."""
    def judge(result, context):
        if result.status != status:
            return f'ended with {signal_name(result.status)}, not {status}'
        return None if result.out_text == 'said before the done\n' else f'printed {result.out_text!r}'
    return judge


def says_no_report(result, context):
    """A line for each signal, and no other."""
    spoken = leak_report.complaints(result.err_text)
    if result.status != 0 or 'done' not in result.out_text:
        return f'ended with {signal_name(result.status)}'
    if not spoken or any('report_signal: there is no report' not in line for line in spoken):
        return f'says {spoken[:3]}'
    return None


def asks_tests(long):
    """Asked from outside, with each way to collect; small programs that never had a cycle."""
    settings = [('', 'report=off'), ('full', 'report=off,barrier=full'),
                ('mprotect', 'report=off,barrier=mprotect')]
    settings += [('stress', f'report=off,{EAGER},stress=1000')] if long else []
    for suffix, options in settings:
        for kind in ASKS:
            yield test(f'asks_{kind}_{suffix}', f'asks {kind}', options, both(ends_well('done'), silent))
    for barrier in ['uffd', 'mprotect', 'full']:
        yield test(f'asks_collect_{barrier}', 'asks collect',
                   f'report=off,confirm=1,probation=0,barrier={barrier}', both(ends_well('done'), silent),
                   True)
    to_files = 'report=report.%p.%n'
    yield test('asks_timeout', 'asks timeout', f'{to_files},report_signal=10', ends_well('done'), True)
    yield test('asks_report_signal', 'asks report_signal', f'{to_files},report_signal=10',
               ends_well('done'), True)
    for kind in ['timeout', 'signal_survived']:
        yield test(f'asks_{kind}_off', f'asks {kind}', 'mode=off,report_signal=10', says_no_report, True)
    yield test('asks_off', 'plain 1', 'mode=off,report_every=1,metrics=metrics',
               names_options('report_every metrics'), True)
    for kind in ['report_every', 'daemon', 'retired']:
        yield test(f'asks_{kind}', f'asks {kind}', f'{to_files},report_every=1', ends_well('done'), True)
    for kind, path in [('metrics', 'metrics.%p'), ('metrics_forked', 'metrics.%p'), ('metrics_one', 'metrics')]:
        yield test(f'asks_{kind}', f'asks {kind}', f'report=off,metrics={path},metrics_every=1s',
                   both(ends_well('done'), silent), True)
    for name, path in [('nowhere', '/nonexistent/file'), ('device', '/dev/null')]:
        yield test(f'asks_metrics_{name}', 'asks metrics_nowhere',
                   f'report=off,metrics={path},metrics_every=1s', names_options(path), True)
    yield test('asks_jump', 'asks jump', 'report=/dev/null,report_signal=10,exitcode=23',
               ends_well('done'), True)
    for number in [11, 62, 32, 6]:
        yield test(f'asks_signal_{number}', 'plain 1', f'report=off,report_signal={number}',
                   names_options(f'report_signal={number}'), True)
    for kind in ['loses', 'reader']:
        yield test(f'asks_{kind}', f'asks {kind}', 'report=report.%p,exitcode=23', dies_leaking(23), True)
    yield test('asks_exitcode_no_leak', 'asks read', 'report=off,exitcode=23', both(ends_well('done'), silent),
               True)


# ---- running ----------------------------------------------------------------------------------------


class Context:
    """What judges may look at besides the result."""

    def __init__(self, args):
        self.programs = os.path.join(os.path.abspath(args.build), 'tests', 'abi')
        library = os.path.join(os.path.abspath(args.build), 'preload', 'libgcmalloc.so')
        self.preload = {'none': None, None: library}.get(args.preload, args.preload)
        self.is_library = args.preload is None
        self.plain_output = None
        self.scratch = None

    def for_test(self, scratch):
        copy = object.__new__(Context)
        copy.__dict__.update(self.__dict__, scratch=scratch)
        return copy


def execute(entry, context):
    """Runs one test; returns (what is wrong or None, result)."""
    with tempfile.TemporaryDirectory(prefix='gcmalloc-abi-') as scratch:
        context = context.for_test(scratch)
        program = os.path.join(context.programs, entry.argv[0])
        arguments = [re.sub(r'^PLUGIN_(\w+)$', context.programs + r'/plugin_\1.so', argument)
                     for argument in entry.argv[1:]]
        settings = [f'{key}={value}' for key, value in entry.env.items()]
        if context.preload:
            settings.append(f'LD_PRELOAD={context.preload}')
            settings.append('GCMALLOC=' + entry.options.replace('SCRATCH', scratch))
        wrap = [re.sub(r'^ABI_', context.programs + '/', word) for word in entry.wrap]
        argv = wrap + ['env'] + settings + [program] + arguments
        result = run(argv, timeout=entry.timeout, env=clean_env(), cwd=scratch)
        if result.timed_out:
            return f'no end after {entry.timeout} s', result
        if result.leftover:
            return f'left processes behind: {result.leftover}', result
        return entry.judge(result, context), result


def describe(entry, result):
    lines = [f'GCMALLOC={entry.options} ' + ' '.join(entry.wrap[:2] + entry.argv),
             f'ended with {signal_name(result.status)} after {result.seconds:.1f} s, '
             f'peak {result.maxrss_kb // 1024} MB']
    for name, text in [('out', result.out_text), ('err', result.err_text), ('', result.traces)]:
        tail = text.splitlines()
        if len(tail) > 60:
            tail = tail[:30] + ['...'] + tail[-30:]
        lines += [f'{name}: {line}' for line in tail]
    return '\n'.join(lines)


def parse_arguments():
    parser = argparse.ArgumentParser(description='the abi tests')
    parser.add_argument('--build', required=True)
    parser.add_argument('--preload')
    parser.add_argument('--only', default='')
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--long', action='store_true')
    parser.add_argument('--every', type=int, default=1)
    parser.add_argument('--verbose', action='store_true')
    return parser.parse_args()


def suite_name(args):
    if args.preload:
        return 'abi-plain' if args.preload == 'none' else 'abi-other'
    return 'abi' if os.path.basename(os.path.abspath(args.build)) == 'build-debug' else 'abi-release'


def main():
    args = parse_arguments()
    context = Context(args)
    if context.preload and not os.path.exists(context.preload):
        sys.exit(f'run_abi: no library {context.preload}')
    if not os.path.exists(os.path.join(context.programs, 'plain')):
        sys.exit(f'run_abi: no programs in {context.programs}')
    wanted = [part for part in args.only.split(',') if part]
    tests = [entry for entry in all_tests(args.long)
             if (context.is_library or not entry.only_library)
             and (not wanted or any(part in entry.name for part in wanted))
             and zlib.crc32(entry.name.encode()) % args.every == 0]
    tally = Tally(suite_name(args))
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(execute, entry, context) for entry in tests]
        for entry, future in zip(tests, futures):
            wrong, result = future.result()
            if wrong:
                tally.fail(entry.name, wrong, describe(entry, result))
            else:
                tally.ok(entry.name, f'{result.seconds:.1f} s')
            if args.verbose and not wrong:
                print(describe(entry, result))
    return tally.exit_status()


sys.exit(main())
