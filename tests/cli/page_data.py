"""page_data.py -- profiles as `gcmalloc report --json` writes them, made up, for the page's tests.

    profile(sites=40)      a server that leaked, with all kinds of records
    empty()                a program that ended before anything happened
    hostile()              names that try to get out of where they stand

The same arguments give the same profile. What the page must show is summed by the tests from the
profile itself, not known from here.
"""

import random

MIB = 1 << 20
SECOND = 10 ** 9

PROGRAM = '/usr/sbin/sessiond'
LIBRARIES = ['/usr/lib/x86_64-linux-gnu/libsession.so.3', '/usr/lib/x86_64-linux-gnu/libssl.so.3',
             '/usr/lib/x86_64-linux-gnu/libc.so.6', '/usr/lib/sessiond/plugins/audit.so']
VERBS = ['read', 'parse', 'accept', 'open', 'copy', 'decode', 'find', 'insert', 'rebuild', 'flush',
         'resolve', 'sign']
NOUNS = ['request', 'header', 'session', 'certificate', 'queue', 'user', 'record', 'cache',
         'token', 'route', 'reply']
TYPES = ['std::vector<session::entry, std::allocator<session::entry> >', 'net::connection',
         'audit::journal']


def frame(chance, module, function=None, inlined=False):
    pc = chance.randrange(0x1000, 0x400000)
    named = {'pc': f'0x{0x7f0000000000 + pc:x}', 'module': module, 'offset': f'0x{pc:x}',
             'inlined': inlined}
    if function:
        noun = function.split('::')[-1].split('_')[-1].split('(')[0]
        named.update(function=function, file=f'/usr/src/sessiond/src/{noun}.c',
                     line=chance.randrange(10, 900), column=chance.randrange(1, 60))
    return named


def function_name(chance, number):
    name = f'{chance.choice(VERBS)}_{chance.choice(NOUNS)}'
    if number % 7 == 0:
        return f'{chance.choice(TYPES)}::{name}(unsigned long, char const*)'
    return name if number < 200 else f'{name}_{number % 1000}'


def call_tree(chance, sites):
    """Stacks that share their outer frames, as real ones do; innermost first."""
    inner = [[frame(chance, PROGRAM, 'main'), frame(chance, LIBRARIES[2])]]
    stacks = {}
    for number in range(1, sites + 1):
        trunk = inner[int(len(inner) * chance.random() ** 2)]
        module = chance.choice([PROGRAM, PROGRAM] + LIBRARIES[:2])
        grown = [frame(chance, module, function_name(chance, number),
                       inlined=chance.random() < 0.2)] + trunk
        if chance.random() < 0.1:
            grown = [frame(chance, LIBRARIES[3])] + grown
        if len(grown) < 18:
            inner.append(grown)
        if number % 9 == 0:
            grown = [frame(chance, LIBRARIES[2], 'strdup')] + grown
        stacks[str(number)] = grown
    return stacks


def leak(chance, stack):
    size = 16 * chance.randrange(1, 64)
    blocks = int(300 * chance.paretovariate(0.7)) % 100000 + 1
    state = 'reclaimed' if chance.random() < 0.6 else 'remaining'
    kind = 'indirect' if chance.random() < 0.3 else 'direct'
    youngest = chance.randrange(1, 4)
    return {'stack': stack, 'size': size, 'kind': kind, 'state': state, 'blocks': blocks,
            'bytes': blocks * size, 'youngest': youngest,
            'oldest': youngest + chance.randrange(0, 9)}


def site(chance, stack, leaks):
    blocks = sum(one['blocks'] for one in leaks)
    lost = sum(one['bytes'] for one in leaks)
    freed = int(chance.paretovariate(0.8)) % 50000
    live = chance.randrange(0, 400)
    reclaimed = [one for one in leaks if one['state'] == 'reclaimed']
    return {'stack': stack, 'allocated_blocks': blocks + freed + live,
            'allocated_bytes': lost + 96 * (freed + live),
            'freed_blocks': freed + sum(one['blocks'] for one in reclaimed),
            'freed_bytes': 96 * freed + sum(one['bytes'] for one in reclaimed)}


def cycle(chance, number, begun, reclaimed):
    pause = int(chance.lognormvariate(12.3, 0.5))
    return {'number': number, 'reason': 'request' if number % 11 == 0 else 'growth',
            'begun': begun, 'took': chance.randrange(20, 90) * 10 ** 6,
            'stopping': chance.randrange(20000, 90000), 'pauses': 2, 'pause': pause,
            'paused': pause + chance.randrange(10000, 200000),
            'heap_before': (97 if number == 7 else 70 + number % 9) * MIB,
            'heap_marked': 62 * MIB, 'live': 52 * MIB, 'goal': 110 * MIB, 'stack_bytes': 90000,
            'root_bytes': 3 * MIB, 'unreached_blocks': 9000 + number, 'unreached_bytes': 12 * MIB,
            'reclaimed_blocks': 1000 * number, 'reclaimed_bytes': reclaimed, 'contradictions': 0,
            'reclaiming': 1}


def moment(chance, second):
    wave = 20 * MIB * (second % 9) // 9
    reclaimed = max(0, second - 20) * MIB * 2
    unreached = 12 * MIB + chance.randrange(2 * MIB) if second > 8 else 0
    return {'time': second * SECOND, 'heap_used': 60 * MIB + wave + chance.randrange(MIB),
            'live': 52 * MIB + second * 20000, 'reclaimed_bytes': reclaimed,
            'unreached_bytes': unreached,
            'resident_bytes': 88 * MIB + wave // 2 + second * 50000}


def reach(chance, stacks):
    rows = []
    for stack in stacks:
        if chance.random() < 0.5:
            blocks = chance.randrange(1, 3000)
            rows.append({'stack': int(stack), 'size': 0, 'blocks': blocks, 'bytes': blocks * 144})
    return rows + [{'stack': 0, 'size': 64, 'blocks': 8000, 'bytes': 512000},
                   {'stack': 0, 'size': 1024, 'blocks': 90, 'bytes': 92160}]


def totals(leaks, cycles, moments):
    reclaimed = [one for one in leaks if one['state'] == 'reclaimed']
    return {'heap_used': moments[-1]['heap_used'], 'heap_live': 52 * MIB, 'heap_goal': 110 * MIB,
            'heap_mapped': 140 * MIB, 'allocated_bytes': 900 * MIB, 'freed_bytes': 700 * MIB,
            'reclaimed_bytes': sum(one['bytes'] for one in reclaimed),
            'reclaimed_blocks': sum(one['blocks'] for one in reclaimed),
            'cycles': len(cycles), 'cycles_forced': 5, 'last_cycle': cycles[-1]['begun'],
            'pause_total': sum(one['paused'] for one in cycles),
            'pause_longest': max(one['pause'] for one in cycles),
            'collector_time': 1340 * 10 ** 6, 'threads': 6, 'contradictions': 3,
            'probation_needed': 3, 'probation_passed': 3, 'reclaiming': 1, 'stacks': 900,
            'resident_bytes': moments[-1]['resident_bytes']}


def modules():
    listed = []
    for i, path in enumerate([PROGRAM] + LIBRARIES):
        start = 0x7f0000000000 + (i << 24)
        listed.append({'start': f'0x{start:x}', 'end': f'0x{start + 0x400000:x}', 'loaded': 0,
                       'unloaded': 0, 'build_id': f'{0x5b3a9c17 + i * 7919:08x}' * 5,
                       'path': path})
    return listed


def process(**more):
    return {'pid': 4242, 'ppid': 1, 'uid': 33, 'program': PROGRAM,
            'arguments': ['sessiond', '--config', '/etc/sessiond.conf', '--name=a server'],
            'started_unix_ns': 1790000000 * SECOND, 'uptime_ns': 121 * SECOND, 'reason': 'exit',
            **more}


def profile(sites=40, seconds=120, seed=1):
    chance = random.Random(seed)
    stacks = call_tree(chance, sites)
    leaks = [leak(chance, number) for number in range(1, sites + 1) if number % 3 != 2]
    leaks += [leak(chance, number) for number in range(1, sites + 1, 5)]
    of = {}
    for one in leaks:
        of.setdefault(one['stack'], []).append(one)
    moments = [moment(chance, second) for second in range(0, seconds + 1)]
    cycles = [cycle(chance, i + 1, (second + 4) * SECOND, max(0, second - 16) * 2 * MIB)
              for i, second in enumerate(range(0, seconds - 4, 4))]
    events = [{'time': one['begun'], 'thread': 4243, 'kind': 'CYCLE', 'a': one['number'],
               'b': one['live']} for one in cycles]
    threads = [{'tid': 4242 + i, 'name': f'worker/{i}' if i else 'sessiond'} for i in range(6)]
    return {'version': 1, 'process': process(),
            'options': {'mode': 'collect', 'stacks': 'all', 'percent': '100', 'min_heap': '32M'},
            'totals': totals(leaks, cycles, moments),
            'notes': ['nothing was reclaimed after 110 s: the program uses io_uring'],
            'modules': modules(), 'threads': threads, 'stacks': stacks,
            'sites': [site(chance, number, of.get(number, [])) for number in range(1, sites + 1)],
            'reach': reach(chance, stacks), 'leaks': leaks,
            'contradictions': [{'stack': 4, 'count': 3}], 'cycles': cycles, 'moments': moments,
            'events': events}


def empty():
    return {'version': 1,
            'process': process(program='/usr/bin/true', arguments=['true'], uptime_ns=900000),
            'options': {'mode': 'collect'}, 'totals': {'heap_used': 2048, 'cycles': 0},
            'notes': [], 'modules': [], 'threads': [], 'stacks': {}, 'sites': [], 'reach': [],
            'leaks': [], 'contradictions': [], 'cycles': [], 'moments': [], 'events': []}


def no_stacks():
    """stacks=none: everything was counted, nothing has a name."""
    whole = profile(sites=10)
    for name in ('leaks', 'reach', 'contradictions'):
        for entry in whole[name]:
            entry['stack'] = 0
    whole['options']['stacks'] = 'none'
    return {**whole, 'stacks': {}, 'sites': []}


def sampled():
    """One in some blocks has its stack, and stands for seven; as report --json has it now. Nothing has a
    stack in one group, which others stand for."""
    whole = profile(sites=10)
    frames = []
    for stack in whole['stacks'].values():
        frames += stack
        stack[:] = [frames.index(frame) for frame in stack]
    whole.update(version=2, frames=[[frame] for frame in frames])
    whole['options'].update(stacks='sampled')
    whole['sampled'] = True
    whole['leaks'].append({**whole['leaks'][0], 'stack': 0, 'bytes': 1 << 40, 'blocks': 1 << 20})
    for entry in whole['leaks'] + whole['reach']:
        times = 7 if entry['stack'] else 0
        entry.update(estimated_blocks=entry['blocks'] * times, estimated_bytes=entry['bytes'] * times)
    return whole


BAD = ['</script><script>window.escaped = 1</script>', '<img src=x onerror="window.escaped = 2">',
       '<!--<script>', 'line\u2028paragraph\u2029end', '"><b>&amp;&lt;', '@PROFILE@', '__proto__',
       'constructor', '\U0001f4a3']


def hostile():
    whole = profile(sites=len(BAD) * 3)
    for number, stack in enumerate(whole['stacks'].values()):
        stack[0].update(function=BAD[number % len(BAD)], file=BAD[(number + 1) % len(BAD)],
                        module=BAD[(number + 2) % len(BAD)])
    whole['notes'] = list(BAD)
    whole['process'].update(program=BAD[0], arguments=list(BAD))
    whole['threads'] = [{'tid': i, 'name': name} for i, name in enumerate(BAD)]
    whole['options'] = {name: name for name in BAD}
    return whole
