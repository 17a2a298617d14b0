"""cases.py -- the real programs: what each is given to do, and how often a cycle runs meanwhile.

`stress` is a cycle every so many allocations, chosen per program so that some tens to hundreds of cycles run
and the whole battery takes about three minutes; `size` scales the work and is larger with --long.
"""

import collections
import os
import re
import shutil

import heavy
import leak_report
import servers
from harness import signal_name
from stage import Trouble

EAGER = 'mode=collect,confirm=1,probation=0,min_heap=0'

Case = collections.namedtuple('Case', 'name function stress long_stress needs plain confirm long')


def case(name, function, stress, *, needs, long_stress=(1000, 20000), plain=True, confirm=1,
         long=False):
    """plain=False: the case has its own expectation and is not compared with a plain run.
    confirm=2: the program now and then holds the only pointer to a block disguised, for less than
    two cycles. long=True: only with --long, or when it is named in full."""
    return Case(name, function, stress, long_stress, needs.split(), plain, confirm, long)


def node_path():
    """Debian's node, or the one that the machine has."""
    for folder in ('/usr/bin', '/usr/local/bin'):
        if os.path.exists(f'{folder}/node'):
            return f'{folder}/node'
    return shutil.which('node') or 'node'


# ---- interpreters ---------------------------------------------------------------------------------


def script(interpreter, name, *, status=0, env=None):
    """A case that runs one script of inputs/ and compares everything that it prints."""
    def function(stage, size):
        result = stage.program([*interpreter, stage.input(name), str(size)], env=env, timeout=180)
        expect_status(name, result, status)
        stage.observe_result(name, result)
    return function


def expect_status(name, result, status):
    """A script that stopped half-way would compare nothing."""
    if result.status != status:
        raise Trouble(f'{name}: {signal_name(result.status)}, not exit {status}',
                      result.out_text[-2000:] + result.err_text)


def python_leak(stage, size):
    """Leaks 1 or 10 million blocks of 64 bytes: 61 or 610 MB (76 or 760 in blocks of 80 bytes).

    With probation nothing is reclaimed until the fifth cycle, at 150 MiB of heap, and while the two million
    leaks that this one finds are told apart for the report, the program goes on: 175 to 210 MB resident.
    """
    count = 1000000 if size == 1 else 10000000
    bound = '150' if 'probation=0' in stage.options else '250'
    result = stage.program(['/usr/bin/python3', stage.input('python_leak.py'), str(count), '64', bound],
                           timeout=300)
    if result.status != 0 or result.out_text != 'bounded\n':
        raise Trouble(f'not bounded: {result.out_text.strip()}', result.err_text)
    stage.note(f'{count} blocks')


def python_leak_wide(stage, size):
    """Fewer and larger: 640 MB (or 2.5 GB) in blocks of 64 KiB."""
    count = 10000 * (1 if size == 1 else 4)
    result = stage.program(['/usr/bin/python3', stage.input('python_leak.py'), str(count), '65536',
                            '200'], timeout=300)
    if result.status != 0 or result.out_text != 'bounded\n':
        raise Trouble(f'not bounded: {result.out_text.strip()}', result.err_text)


PYTHON_QUICK = 'test_json test_dict test_mmap test_ctypes test_fork1'
PYTHON_WAITS = 'test_select test_epoll test_threading'
PYTHON_WAITS_LONG = PYTHON_WAITS + ' test_signal test_socket test_subprocess test_asyncio test_faulthandler'


def python_own_tests(modules, modules_long):
    """CPython's own regression tests: they pass, as many of them as without the library. The ones
    of VSOCK wait for ever in some virtual machines, also without it."""
    def function(stage, size):
        names = (modules if size == 1 else modules_long).split()
        argv = ['/usr/bin/python3', '-m', 'test', '-v', '-i', 'ThreadedVSOCK*', *names]
        result = stage.program(argv, env={'PYTHONMALLOC': 'malloc'}, timeout=600)
        if result.status != 0:
            raise Trouble(f'{" ".join(names)}: {signal_name(result.status)}',
                          (result.out_text + result.err_text)[-6000:])
        verdicts = re.findall(r'^(?:Ran (\d+ tests)|(OK.*))', result.err_text + result.out_text, re.M)
        if len(verdicts) < 2 * len(names):
            raise Trouble(f'{len(verdicts)} verdicts on {len(names)} modules', result.err_text[-6000:])
        stage.observe('verdicts', ' '.join(count or verdict for count, verdict in verdicts))
    return function


def cycles_happen(stage, size):
    """The other cases prove something only if cycles run in them."""
    stage.options += ',gctrace=1'
    result = stage.program(['/usr/bin/python3', stage.input('python_json.py'), '1'],
                           env={'PYTHONMALLOC': 'malloc'})
    cycles = len(leak_report.gctrace(result.err_text))
    if cycles < 50:
        raise Trouble(f'{cycles} cycles under {stage.options}', result.err_text)
    stage.note(f'{cycles} cycles')


# ---- tools ------------------------------------------------------------------------------------------


def sqlite(stage, size):
    with open(stage.input('sqlite.sql'), 'rb') as sql:
        text = sql.read()
    result = stage.program(['sqlite3', '-batch', stage.path('test.db')], stdin=text)
    stage.observe_result('sqlite3', result)
    if b'\nok\n' not in result.out:
        raise Trouble('integrity_check does not say ok', result.out_text[-500:] + result.err_text)
    for number in range(size * 3):
        again = stage.program(['sqlite3', '-batch', stage.path('test.db'),
                               f'SELECT count(*), sum(amount) FROM sale WHERE id % 7 = {number};'
                               'PRAGMA integrity_check;'])
        stage.observe_result(f'query {number}', again)
    stage.observe_files('test.db')


def shell(name, *arguments, status=0):
    def function(stage, size):
        values = [str(argument * size) for argument in arguments]
        result = stage.program(['bash', stage.input(name), *values], timeout=240)
        expect_status(name, result, status)
        stage.observe_result(name, result)
    return function


def c_source(functions):
    """A long file of small, different functions with tables, switches, loops and strings."""
    parts = ['#include <stdio.h>\n#include <string.h>\nstruct s { int a, b; double d[7]; char t[40]; };\n']
    for i in range(functions):
        parts.append(f'''
static const int table_{i}[] = {{ {", ".join(str(i * j % 251) for j in range(20))} }};
int work_{i}(struct s *p, int n)
{{
    int sum = {i};
    for (int i = 0; i < n; i++) {{
        switch ((i + p->a) % {5 + i % 7}) {{
        case 0: sum += table_{i}[i % 20]; break;
        case 1: p->d[i % 7] += sum / {1 + i % 9}.5; break;
        case 2: sum ^= p->b << {i % 13}; break;
        default: p->t[i % 40] = (char)(sum + "text {i}"[i % 5]);
        }}
        if (strlen(p->t) > {i % 30}) sum -= (int)p->d[3];
    }}
    return sum{f" + work_{i - 1}(p, n - 1)" if i else ""};
}}
''')
    return ''.join(parts)


def gcc(stage, size):
    with open(stage.path('large.c'), 'w', encoding='utf-8') as file:
        file.write(c_source(700 * size))
    for name, options in [('plain', ['-O0', '-g']), ('fast', ['-O2'])]:
        result = stage.program(['gcc', *options, '-c', 'large.c', '-o', f'{name}.o'], timeout=240)
        expect_status('gcc', result, 0)
        stage.observe_result(f'gcc {name}', result)
        stage.observe_files(f'{name}.o')
    with open(stage.path('wrong.c'), 'w', encoding='utf-8') as file:
        file.write('int main(void) { return undeclared + missing(1) }\n')
    stage.observe_result('gcc wrong', stage.program(['gcc', '-Wall', '-c', 'wrong.c']))


def make(stage, size):
    """The compiler allocates a thousand times more than make does: its cycles are made rarer."""
    names = [f'part{i}' for i in range(14 * size)]
    for i, name in enumerate(names):
        with open(stage.path(f'{name}.c'), 'w', encoding='utf-8') as file:
            file.write(c_source(6 + i % 5).replace('work_', f'{name}_').replace('int', 'int', 1))
    with open(stage.path('main.c'), 'w', encoding='utf-8') as file:
        file.write('#include <stdio.h>\nstruct s { int a, b; double d[7]; char t[40]; };\n')
        file.writelines(f'int {name}_5(struct s *, int);\n' for name in names)
        file.write('int main(void)\n{\n    struct s s = { 3, 4, { 0 }, "x" };\n')
        file.writelines(f'    printf("%d\\n", {name}_5(&s, 50));\n' for name in names)
        file.write('    return 0;\n}\n')
    with open(stage.path('Makefile'), 'w', encoding='utf-8') as file:
        file.write('objects := $(patsubst %.c,%.o,$(sort $(wildcard *.c)))\n'
                   'total := $(shell echo $(words $(objects)))\n'
                   'all: program\n\t@./program > output.txt; echo $(total) objects\n'
                   'program: $(objects)\n\t@gcc -o $@ $^\n'
                   '%.o: %.c\n\t@GCMALLOC="$$GCMALLOC,stress=4000" gcc -O1 -c -o $@ $<\n'
                   'clean:\n\trm -f $(objects)\n')
    result = stage.program(['make', '-j2', '-s'], timeout=240)
    expect_status('make', result, 0)
    stage.observe_result('make', result)
    stage.observe_result('make again', stage.program(['make', '-j2', '-s']))
    stage.observe_files('output.txt', 'program', 'main.o', 'part0.o')
    stage.observe_result('make clean', stage.program(['make', 'clean']))


def openssl(stage, size):
    """genrsa prints dots as it finds primes, which vary: the script sends them to /dev/null."""
    shell('openssl.sh')(stage, size)


def redis(stage, size):
    servers.redis(stage, commands=1500 * size, requests=4000 * size)


def nginx(stage, size):
    servers.nginx(stage, seconds=size)


CASES = [
    case('cycles_happen', cycles_happen, 5000, needs='/usr/bin/python3', plain=False, long_stress=()),
    case('python_json', script(['/usr/bin/python3'], 'python_json.py'), 100,
         needs='/usr/bin/python3'),
    case('python_json_malloc', script(['/usr/bin/python3'], 'python_json.py',
                                      env={'PYTHONMALLOC': 'malloc'}), 5000,
         needs='/usr/bin/python3'),
    case('python_threads', script(['/usr/bin/python3'], 'python_threads.py'), 200,
         needs='/usr/bin/python3'),
    # What malloc returns is a number of Python's, digits of 30 bits, until it is stored.
    case('python_ctypes', script(['/usr/bin/python3'], 'python_ctypes.py'), 200,
         needs='/usr/bin/python3', confirm=2),
    case('cpython', python_own_tests(PYTHON_QUICK, PYTHON_QUICK), 20000, needs='/usr/bin/python3',
         confirm=2),
    case('cpython_waits', python_own_tests(PYTHON_WAITS, PYTHON_WAITS_LONG), 5000,
         needs='/usr/bin/python3', confirm=2, long_stress=()),
    case('python_leak', python_leak, 0, needs='/usr/bin/python3', plain=False, long_stress=()),
    case('python_leak_wide', python_leak_wide, 0, needs='/usr/bin/python3', plain=False,
         long_stress=()),
    case('sqlite3', sqlite, 2000, needs='sqlite3'),
    case('redis', redis, 2000, needs='redis-server redis-cli redis-benchmark redis-check-rdb'),
    case('nginx', nginx, 2000, needs='nginx wrk'),
    case('git', shell('git.sh', 12), 200, needs='git bash'),
    case('gcc', gcc, 50000, needs='gcc', long_stress=(5000, 50000)),
    case('perl', script(['perl'], 'work.pl'), 5000, needs='perl'),
    case('bash', shell('long.sh', 4, status=7), 2000, needs='bash', long_stress=(2000, 20000)),
    case('node', script([node_path()], 'work.js'), 2000, needs=node_path()),
    case('ruby', script(['ruby'], 'work.rb'), 2000, needs='ruby'),
    case('tcl', script(['tclsh'], 'work.tcl'), 2000, needs='tclsh'),
    case('php', script(['php', '-d', 'phar.readonly=0'], 'work.php', status=5), 1000, needs='php'),
    case('archives', shell('archive.sh'), 10, needs='tar xz zstd', long_stress=(10, 1000)),
    case('openssl', openssl, 2000, needs='openssl'),
    case('make', make, 100, needs='make gcc'),
    case('java', heavy.java, 5000, needs='java javac jshell'),
    case('java_collectors', heavy.java_collectors, 20000, needs='java javac', long=True, long_stress=()),
    case('emacs', heavy.emacs, 5000, needs='emacs'),
    case('chromium', heavy.chromium, 2000, needs='chromium', long=True),
    case('sshd', heavy.sshd, 200, needs='/usr/sbin/sshd ssh ssh-keygen scp', long=True,
         long_stress=(20,)),
    case('tcl_core', heavy.tcl_core, 100, needs='tclsh', long=True, long_stress=()),
    case('perl_core', heavy.perl_core, 20000, needs='perl', long=True, long_stress=()),
]
