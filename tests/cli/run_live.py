"""run_live.py --build DIR -- the commands of `gcmalloc` that look at running processes.

    --build DIR    build directory with the command and the programs of tests/cli
    --only A,B     only tests whose name contains one of these

Most of them look at page_server, a process that shows a page with known figures and behaves badly on
demand; those whose names begin with real- at a program under the library itself. Tests that need another user, or a name space of processes, need root and are left out, with
a note, without it.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

from harness import Tally, clean_env, run, signal_name   # noqa: E402
from terminal import PATIENCE, Terminal                  # noqa: E402

MIB = 1 << 20
OK, USAGE, FOREIGN, TRUNCATED, NO_PROCESS, DENIED = 0, 2, 4, 5, 6, 7
NO_LIBRARY, OUTPUT, TIMEOUT = 8, 10, 11
# Users that own nothing here.
SOMEBODY, ANOTHER = 64123, 64124


class Wrong(Exception):
    """What is wrong, as the line of the failed test says it."""


def check(condition, why):
    if not condition:
        raise Wrong(why)


class Place:
    """A directory of its own with copies of the programs, which any user may run."""

    def __init__(self, build):
        self.path = tempfile.mkdtemp(prefix='gcmalloc-live-')
        os.chmod(self.path, 0o777)
        for name in ('src/cli/gcmalloc', 'tests/cli/page_server', 'tests/cli/static_sleeper',
                     'tests/cli/leaker'):
            shutil.copy(os.path.join(build, name), self.path)
        self.command = os.path.join(self.path, 'gcmalloc')
        self.preload = os.path.abspath(os.path.join(build, 'preload/libgcmalloc.so'))
        # A process has the library if a file of that name is mapped; page_server maps this one.
        with open(os.path.join(self.path, 'libgcmalloc.so'), 'wb') as library:
            library.write(bytes(4096))

    def file(self, name):
        return os.path.join(self.path, name)

    def server(self, mode, **more):
        return Process([self.file('page_server'), self.file('libgcmalloc.so'), mode], **more)

    def leaker(self, mib, options='report=off'):
        return Process([self.file('leaker'), str(mib)],
                       env=clean_env({'LD_PRELOAD': self.preload, 'GCMALLOC': options}))

    def run(self, *arguments, user=None, timeout=60):
        return run([self.command, *map(str, arguments)], timeout=timeout, cwd=self.path,
                   preexec=as_user(user))

    def terminal(self, *arguments, user=None, env=None, **more):
        env = env or clean_env({'TERM': 'xterm'})
        return Terminal([self.command, *map(str, arguments)], env, self.path,
                        preexec=as_user(user), **more)


def as_user(uid):
    if uid is None:
        return None

    def change():
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    return change


class Process:
    """A program that says "ready" and ends with its standard input."""

    def __init__(self, argv, user=None, env=None):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=env or clean_env(), preexec_fn=as_user(user))
        self.said = self.process.stdout.readline()
        self.pid = self.process.pid

    def __enter__(self):
        check(self.said == b'ready\n', f'the process did not begin: {self.said!r}')
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        if self.process.returncode is not None:
            return
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def ends_with(result, status, *words):
    """The status, and if it is a failure just one line that has the words."""
    check(result.status == status, f'ended with {signal_name(result.status)}, not {status}: '
          f'{result.err_text[-300:]!r}')
    lines = result.err_text.splitlines()
    check(len(lines) == (status != OK), f'{len(lines)} lines: {result.err_text[-300:]!r}')
    for word in words:
        text = result.err_text if status else result.out_text
        check(str(word) in text, f'{word!r} is not in {text[-400:]!r}')


def wait_until(true, what):
    deadline = time.monotonic() + PATIENCE
    while not true():
        check(time.monotonic() < deadline, f'in {PATIENCE} s not: {what}')
        time.sleep(0.02)


# ---- finding a process --------------------------------------------------------------------------


def bad_numbers(place):
    for text in ('x', '', '12x', '-1', '0', '99999999999999999999'):
        ends_with(place.run('collect', '--', text), USAGE, f"'{text}'")
    ends_with(place.run('collect'), USAGE, 'which process')
    ends_with(place.run('collect', '1', '2'), USAGE, 'one process only')


def no_process(place):
    with open('/proc/sys/kernel/pid_max', encoding='ascii') as most:
        ends_with(place.run('collect', int(most.read())), NO_PROCESS, 'there is no process')


def zombie(place):
    dead = subprocess.Popen(['true'])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    ends_with(place.run('collect', dead.pid), NO_PROCESS, 'has ended')
    dead.wait()


def thread_number(place):
    with place.server('plain') as server:
        wait_until(lambda: len(os.listdir(f'/proc/{server.pid}/task')) == 2, 'a second thread')
        tid = max(map(int, os.listdir(f'/proc/{server.pid}/task')))
        ends_with(place.run('collect', tid), NO_PROCESS, f'a thread of process {server.pid}')


def without_library(place):
    with Process(['sh', '-c', 'echo ready; read x']) as shell:
        ends_with(place.run('collect', shell.pid), NO_LIBRARY, 'without the library')
        check('static' not in place.run('collect', shell.pid).err_text, 'a shell is not static')


def static(place):
    with Process([place.file('static_sleeper')]) as process:
        ends_with(place.run('snapshot', process.pid), NO_LIBRARY, 'statically linked')


def of_32_bits(place):
    """A program of 32 bits, by hand: pause(), for ever."""
    code = bytes.fromhex('b81d000000cd80ebf7')
    start = 0x08048000
    head = bytes.fromhex('7f454c460101010000000000000000000200030001000000')
    words = lambda *w: b''.join(n.to_bytes(4, 'little') for n in w)
    halves = lambda *h: b''.join(n.to_bytes(2, 'little') for n in h)
    head += words(start + 84, 52, 0, 0) + halves(52, 32, 1, 0, 0, 0)
    head += words(1, 0, start, start, 84 + len(code), 84 + len(code), 5, 4096)
    with open(place.file('small'), 'wb') as out:
        out.write(head + code)
    os.chmod(place.file('small'), 0o755)
    try:
        process = subprocess.Popen([place.file('small')])
    except OSError:
        return 'this kernel runs none'
    try:
        ends_with(place.run('collect', process.pid), NO_LIBRARY, '32-bit')
    finally:
        process.kill()
        process.wait()
    return None


def another_user(place):
    if os.geteuid() != 0:
        return 'needs root'
    with place.server('plain', user=SOMEBODY) as server:
        for command in ('collect', 'snapshot', 'metrics', 'top'):
            ends_with(place.run(command, server.pid, user=ANOTHER), DENIED, server.pid)
        ends_with(place.run('collect', server.pid, user=SOMEBODY), OK, '60.0 MiB live')
        ends_with(place.run('collect', server.pid), OK, '60.0 MiB live')
    return None


def bad_pages(place):
    for mode, status, word in (('version', FOREIGN, 'version 9'), ('torn', TIMEOUT, 'answer'),
                               ('stranger', FOREIGN, 'process 1'), ('deaf', TIMEOUT, 'answer'),
                               ('ends', NO_PROCESS, 'has ended'),
                               ('uncaught', NO_LIBRARY, 'signal 62')):
        with place.server(mode) as server:
            ends_with(place.run('collect', '--timeout', '0.5', server.pid), status, word)


def other_signal(place):
    """The signal's number is read from the process's environment: here it has no handler."""
    with place.server('plain', env=clean_env({'GCMALLOC': 'stacks=all,signal=60'})) as server:
        ends_with(place.run('collect', server.pid), NO_LIBRARY, 'signal 60')


def container(place):
    """From outside, where the process has another number, and from inside."""
    if os.geteuid() != 0:
        return 'needs root'
    inside = ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child']
    probe = subprocess.run(inside + ['true'], stderr=subprocess.DEVNULL, check=False)
    if probe.returncode != 0:
        return 'no name spaces here'
    argv = [place.file('page_server'), place.file('libgcmalloc.so'), 'plain']
    with Process(inside + argv) as server:
        with open(f'/proc/{server.pid}/task/{server.pid}/children', encoding='ascii') as children:
            pid = int(children.read().split()[0])
        ends_with(place.run('collect', pid), OK, f'{pid} (page_server): 60.0 MiB live')
        ends_with(place.run('snapshot', '--output', place.file('c.profile'), pid), OK)
        ends_with(place.run('top', '--batch', '-n', 1, pid), OK, f'process {pid}, 1 inside')
    ends_with(inside_too(inside, place, argv), OK, '60.0 MiB live')
    return None


def inside_too(inside, place, argv):
    script = f'sleep 60 | {" ".join(argv)} & sleep 1; {place.command} collect $!'
    return run(inside + ['sh', '-c', script], timeout=60)


# ---- collect and snapshot -----------------------------------------------------------------------


def collect(place):
    for mode in ('plain', 'late', 'longer'):
        with place.server(mode) as server:
            ends_with(place.run('collect', server.pid), OK, f'{server.pid} (page_server)',
                      '60.0 MiB live', '7.0 MiB in 70 blocks unreached',
                      '3.0 MiB in 30 blocks reclaimed', 'took 25 ms', 'stopped for 2.20 ms')


def snapshot(place):
    with place.server('plain') as server:
        for number in (1, 2):
            name = f'gcmalloc.{server.pid}.{number}.profile'
            ends_with(place.run('snapshot', server.pid), OK, name)
            with open(place.file(name), encoding='ascii') as profile:
                lines = profile.read().splitlines()
            check(lines[0] == 'gcmalloc-profile 2' and lines[-1] == 'end 1002'
                  and len(lines) == 1003, f'{len(lines)} lines, the last one {lines[-1]!r}')


def kept_files(place):
    """What is there stays, unless --force."""
    path = place.file('there')
    with open(path, 'w', encoding='ascii') as file:
        file.write('mine')
    with place.server('plain') as server:
        ends_with(place.run('snapshot', '--output', path, server.pid), OUTPUT, path, '--force')
        with open(path, encoding='ascii') as file:
            check(file.read() == 'mine', 'it was overwritten')
        ends_with(place.run('snapshot', '--force', '--output', path, server.pid), OK, path)
        with open(path, encoding='ascii') as file:
            check(file.read().endswith('\nend 1002\n'), 'it was not overwritten')
        name = f'gcmalloc.{server.pid}.2.profile'
        shutil.copy(path, place.file(name))
        ends_with(place.run('snapshot', server.pid), OUTPUT, name, '--force')


def bad_outputs(place):
    with place.server('plain') as server:
        ends_with(place.run('snapshot', '--output', '/dev/full', server.pid), OUTPUT, 'No space')
        check(os.path.exists('/dev/full'), '/dev/full is gone')
        ends_with(place.run('snapshot', '--output', place.file('no/file'), server.pid), OUTPUT,
                  'No such file')
        ends_with(place.run('snapshot', '--output', place.path, '--force', server.pid), OUTPUT,
                  'directory')


def bad_profiles(place):
    for mode, status in (('cut', TRUNCATED), ('failed', OUTPUT)):
        with place.server(mode) as server:
            path = place.file(mode)
            ends_with(place.run('snapshot', '--output', path, server.pid), status)
            check(not os.path.exists(path), f'{path} remains')


# ---- under the library itself -------------------------------------------------------------------

# The options under which a leak is known by its stack, and nothing is printed at the end.
RECORDING = 'report=/dev/null,stacks=all'


def unnoticed(process):
    process.end()
    status = process.process.returncode
    check(status == 0, f'the program ended with {status}')


def real_collect(place):
    """A small heap has no thread before it is asked; a large one has."""
    for mib in (0, 40):
        with place.leaker(mib) as leaker:
            for _ in range(3):
                result = place.run('collect', leaker.pid)
                ends_with(result, OK, f'{leaker.pid} (leaker): ')
                match = re.search(r': ([0-9.]+) (\w+) live, [0-9.]+ \w+ in (\d+) blocks unreached',
                                  result.out_text)
                check(match, f'printed {result.out_text!r}')
                check(int(match.group(3)) >= 190, f'{match.group(3)} blocks unreached')
                large = match.group(2) == 'MiB' and 40 <= float(match.group(1)) < 45
                check(large == (mib > 0), f'{mib} MiB live, printed {result.out_text!r}')
            unnoticed(leaker)


def real_snapshot(place):
    with place.leaker(0, RECORDING) as leaker:
        path = place.file('real.profile')
        for _ in range(2):
            ends_with(place.run('snapshot', '--force', '--output', path, leaker.pid), OK, path)
        with open(path, encoding='utf-8') as profile:
            records = [line.split() for line in profile]
        check(['process', str(leaker.pid)] == records[1][:2], f'{records[1]}')
        check(any(r[0] == 'leak' and int(r[5]) >= 190 for r in records), 'no leak in it')
        unnoticed(leaker)


def real_snapshot_without_stacks(place):
    """With report=off none are recorded: the command says so, and so does the profile."""
    why = 'report=off, and no profile was asked for at the start; report=/dev/null has them recorded'
    with place.leaker(0, 'stacks=all,report=off') as leaker:
        path = place.file('bare.profile')
        result = place.run('snapshot', '--output', path, leaker.pid)
        check(result.status == OK and path in result.out_text, f'{result.status}')
        check(result.err_text == f'gcmalloc: no stacks are in it: {why}\n', result.err_text)
        text = place.run('report', path).out_text
        check(f'libgcmalloc: no stacks were recorded: {why}\n' in text and
              'stacks=all records' not in text, text)
        unnoticed(leaker)


def real_metrics(place):
    with place.leaker(40) as leaker:
        ends_with(place.run('collect', leaker.pid), OK)
        found = samples(place.run('metrics', leaker.pid).out_text)
        more = samples(place.run('metrics', leaker.pid).out_text)
        check(found['gcmalloc_memstats_heap_alloc_bytes'] > 40 * MIB, 'a heap too small')
        check(found['gcmalloc_gc_cycles_total_gc_cycles_total'] >= 1, 'no cycle')
        name = 'gcmalloc_memstats_alloc_bytes_total'
        check(more[name] > found[name], f'{name} does not grow: the page is not renewed')
        unnoticed(leaker)


def real_top(place):
    with place.leaker(40, RECORDING) as leaker:
        ends_with(place.run('collect', leaker.pid), OK)
        terminal = place.terminal('top', '--every', '0.3', leaker.pid)
        try:
            seen(terminal, f'leaker  process {leaker.pid}', 'ALLOCATED BY', 'leak_here (leaker.c:')
            terminal.press('\r')
            seen(terminal, 'blocks leaked, allocated by', 'leak_here (leaker.c:', 'main (leaker.c:')
            terminal.press('c')
            seen(terminal, 'cycle has ended')
            terminal.press('s')
            seen(terminal, 'written: gcmalloc.')
            terminal.press('q')
            ended(terminal, OK)
        finally:
            terminal.close()
        unnoticed(leaker)


# ---- metrics ------------------------------------------------------------------------------------

EXPECTED = {
    'memstats_alloc_bytes': 80 * MIB, 'memstats_alloc_bytes_total': 900 * MIB,
    'memstats_heap_inuse_bytes': 85 * MIB, 'memstats_heap_released_bytes': 5 * MIB,
    'memstats_next_gc_bytes': 120 * MIB, 'gc_duration_seconds_count': 10,
    'gc_duration_seconds_sum': 0.03, 'gc_cycles_total_gc_cycles_total': 10,
    'gc_heap_live_bytes': 60 * MIB, 'reclaimed_bytes_total': 120 * MIB, 'unreached_blocks': 70,
    'pause_longest_seconds': 0.002, 'collector_time_seconds_total': 0.4, 'threads': 3,
}


def samples(text):
    found = {}
    for line in text.splitlines():
        if not line.startswith('#'):
            name, value = line.rsplit(' ', 1)
            found[name] = float(value)
    return found


def metrics(place):
    with place.server('plain') as server:
        for options, prefix in (((), 'gcmalloc'), (('--prefix', 'go'), 'go')):
            result = place.run('metrics', *options, server.pid)
            ends_with(result, OK)
            found = samples(result.out_text)
            for name, value in EXPECTED.items():
                check(found.get(f'{prefix}_{name}') == value,
                      f'{prefix}_{name} is {found.get(f"{prefix}_{name}")}, not {value}')
            for quantile, value in (('0', 0.0002), ('0.5', 0.001), ('1', 0.002)):
                name = f'{prefix}_gc_duration_seconds{{quantile="{quantile}"}}'
                check(found.get(name) == value, f'{name} is {found.get(name)}')
        ends_with(place.run('metrics', '--prefix', '9x', server.pid), USAGE, '9x')
        ends_with(place.run('metrics', '--every', '1', server.pid), USAGE, '--output')
        ends_with(place.run('metrics', '--every', 'no', server.pid), USAGE, 'no number')


def metrics_formats(place):
    """Prometheus's own parsers, of OpenMetrics and of the older format."""
    try:
        from prometheus_client import openmetrics, parser     # pylint: disable=C0415
        from prometheus_client.openmetrics import parser as new  # pylint: disable=C0415
    except ImportError:
        return 'needs python3-prometheus-client'
    del openmetrics
    with place.server('plain') as server:
        text = place.run('metrics', server.pid).out_text
    check(text.endswith('# EOF\n'), 'no end mark')
    try:
        families = list(new.text_string_to_metric_families(text))
    except ValueError as error:
        raise Wrong(f'not OpenMetrics: {error}') from error
    check(len(families) > 35, f'{len(families)} metrics')
    for family in families:
        check(family.documentation != '', f'{family.name} has no HELP')
        check(family.samples, f'{family.name} has no sample')
        check(family.unit or not family.name.endswith(('_bytes', '_seconds')), family.name)
    old = {s.name for f in parser.text_string_to_metric_families(text) for s in f.samples}
    check({s.name for f in families for s in f.samples} <= old, 'the parsers differ')
    return None


def metrics_option(place):
    """What a process writes by itself has the same lines as what the command prints of it."""
    path = place.file('own.prom')
    with place.leaker(0, f'report=off,metrics={path},metrics_every=1s') as leaker:
        wait_until(lambda: os.path.exists(path), path)
        printed = place.run('metrics', leaker.pid).out_text
        with open(path, encoding='ascii') as file:
            written = file.read()
        names = [[line.rsplit(' ', 1)[0] if line[0] != '#' else line for line in text.splitlines()]
                 for text in (printed, written)]
        check(names[0] == names[1], f'{sorted(set(names[0]) ^ set(names[1]))}')
        unnoticed(leaker)
    left = [name for name in os.listdir(place.path) if name.startswith('own.prom')]
    check(left == ['own.prom'], f'{left} remain')


def metrics_file(place):
    """Again and again, whole at any time, until the process ends."""
    path = place.file('gcmalloc.prom')
    with place.server('plain') as server:
        writer = subprocess.Popen([place.command, 'metrics', '--every', '0.05', '--output', path,
                                   str(server.pid)], env=clean_env())
        try:
            for _ in range(3):
                wait_until(lambda: os.path.exists(path), path)
                with open(path, encoding='ascii') as file:
                    wait_until(lambda: os.fstat(file.fileno()).st_nlink == 0,
                               'another file in the place of this one')
                    check(file.read().endswith('# EOF\n'), 'a file that is not whole')
            server.end()
            status = writer.wait(PATIENCE)
        finally:
            writer.kill()
            writer.wait()
        check(status == OK, f'ended with {status}')
        left = [name for name in os.listdir(place.path) if name.startswith('gcmalloc.prom')]
        check(not left, f'{left} remain')


# ---- top ----------------------------------------------------------------------------------------


def top_batch(place):
    with place.server('longer') as server:
        result = place.run('top', '--batch', '-n', 2, '--every', '0.2', server.pid)
        ends_with(result, OK, f'page_server  process {server.pid}', '80.0 MiB, 60.0 MiB of it live',
                  '7.0 MiB in 70 blocks unreached', '120 MiB in 2400 blocks reclaimed',
                  'longest 2.00 ms', 'probation 3/3', '93.8 KiB')
        check(result.out_text.count('ALLOCATED BY') == 2, 'not two rounds')
        lines = result.out_text.splitlines()
        cycles = [line for line in lines if re.match(r' +\d+ growth', line)]
        check(len(cycles) == 20 and cycles[0].split()[0] == '10', f'{len(cycles)} cycles')
        check(any(re.match(rf' +{server.pid} +S .*page_server', line) for line in lines),
              'no line for the thread')
        check(sum('#' in line for line in lines) > 4, 'no graph')
        check(not any(ord(c) < 32 and c != '\n' for c in result.out_text), 'control characters')


def top_rates(place):
    """Between two rounds a cycle finds 4,800 bytes more at one site."""
    with place.server('plain') as server:
        watcher = subprocess.Popen([place.command, 'top', '--batch', '-n', '200', '--every', '0.1',
                                    str(server.pid)], stdout=subprocess.PIPE, env=clean_env(),
                                   text=True)
        try:
            lines = iter(watcher.stdout.readline, '')
            check(any('ALLOCATED BY' in line for line in lines), 'no first round')
            ends_with(place.run('collect', server.pid), OK)
            rate = re.compile(r' +[0-9.]+ KiB +([0-9.]+ [KM]iB) +200 ')
            check(any(rate.match(line) for line in lines), 'no rate was shown')
        finally:
            watcher.kill()
            watcher.stdout.close()
            watcher.wait()


def top_lists(place):
    with place.server('plain') as server:
        result = place.run('top')
        ends_with(result, OK, 'PROCESS')
        check(re.search(rf'^ +{server.pid} .*page_server', result.out_text, re.M), 'not listed')
        ends_with(place.run('top', server.pid), USAGE, '--batch')


def top_screen(place):
    with place.server('plain') as server:
        terminal = place.terminal('top', '--every', '0.2', server.pid)
        try:
            seen(terminal, f'process {server.pid}', '80.0 MiB', '60.0 MiB of it live', 'goal 120 MiB',
                 '# live', 'ALLOCATED BY', '93.8 KiB')
            keys_work(place, server, terminal)
            terminal.press('q')
            ended(terminal, OK)
        finally:
            terminal.close()


def seen(terminal, *texts):
    check(terminal.wait_for(*texts), f'{texts} not on the screen:\n{terminal.screen.text()}')


def first_row(terminal):
    lines = terminal.screen.text().splitlines()
    return lines[[i for i, line in enumerate(lines) if 'ALLOCATED BY' in line][0] + 1]


def keys_work(place, server, terminal):
    terminal.press('c')
    seen(terminal, 'cycle has ended', 'cycles    11')
    terminal.press('r')      # the site that grew comes first, then again the larger one
    seen(terminal, 'ALLOCATED BY')
    terminal.press('b')
    seen(terminal, 'ALLOCATED BY')
    check('2000' in first_row(terminal), f'sorted by bytes: {first_row(terminal)}')
    terminal.press('\x1bOB')      # Down
    terminal.press('\r')
    seen(terminal, '200 blocks leaked', '#0 ', '#1 ')
    terminal.press('\r')
    seen(terminal, 'ALLOCATED BY')
    terminal.press('\t')
    seen(terminal, 'REASON', 'request', 'growth')
    terminal.press('\t')
    seen(terminal, 'THREAD', 'CPU %', str(server.pid))
    terminal.press('?')
    seen(terminal, 'KEYS', 'ask for a cycle')
    terminal.press('s')
    seen(terminal, 'written: gcmalloc.')
    check(os.path.exists(place.file(f'gcmalloc.{server.pid}.1.profile')), 'no snapshot')
    terminal.resize(12, 60)
    terminal.press('\t\t')      # from the help to the sites, and on
    seen(terminal, 'heap      [####', 'REASON')
    check('# live' not in terminal.screen.text(), 'the graph takes the place of the table')
    terminal.resize(40, 120)
    seen(terminal, '# live')


def ended(terminal, status):
    found = terminal.end()
    check(found == status, f'ended with {found}, not {status}')
    check(terminal.restored(), 'the terminal is not as it was')


def top_signals(place):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with place.server('plain') as server:
            terminal = place.terminal('top', server.pid)
            try:
                seen(terminal, 'ALLOCATED BY')
                os.kill(terminal.pid, number)
                ended(terminal, -number)
            finally:
                terminal.close()


def top_interrupt_key(place):
    """^C on the terminal itself."""
    with place.server('plain') as server:
        terminal = place.terminal('top', server.pid)
        try:
            seen(terminal, 'ALLOCATED BY')
            terminal.press('\x03')
            ended(terminal, -signal.SIGINT)
        finally:
            terminal.close()


def top_end_of_process(place):
    with place.server('plain') as server:
        terminal = place.terminal('top', server.pid)
        try:
            seen(terminal, 'ALLOCATED BY')
            server.end()
            ended(terminal, NO_PROCESS)
            after = terminal.raw[terminal.raw.rfind(b'\x1b[?1049l'):]
            check(f'process {server.pid} has ended'.encode() in after, f'{after!r}')
        finally:
            terminal.close()


def top_chooses(place):
    """As a user who has this process alone: Enter must not meet anybody else's."""
    if os.geteuid() != 0:
        return 'needs root'
    with place.server('plain', user=SOMEBODY) as server:
        terminal = place.terminal('top', user=SOMEBODY)
        try:
            seen(terminal, str(server.pid), 'COMMAND', 'page_server')
            terminal.press('\r')
            seen(terminal, f'process {server.pid}', 'ALLOCATED BY')
            terminal.press('q')
            ended(terminal, OK)
        finally:
            terminal.close()
    ends_with_none(place)
    return None


def ends_with_none(place):
    terminal = place.terminal('top', user=ANOTHER)
    try:
        status = terminal.end()
        check(status == NO_PROCESS and b'no process of this user' in terminal.raw,
              f'{status}: {terminal.raw!r}')
    finally:
        terminal.close()


def top_unknown_terminal(place):
    with place.server('plain') as server:
        terminal = place.terminal('top', server.pid, env=clean_env({'TERM': 'of-no-kind'}))
        try:
            status = terminal.end()
            check(status == USAGE and b'of-no-kind' in terminal.raw, f'{status}: {terminal.raw!r}')
        finally:
            terminal.close()


TESTS = [bad_numbers, no_process, zombie, thread_number, without_library, static,
         of_32_bits, another_user, bad_pages, other_signal, container, collect, snapshot,
         kept_files, bad_outputs, bad_profiles, real_collect, real_snapshot,
         real_snapshot_without_stacks, real_metrics,
         real_top, metrics, metrics_formats, metrics_option, metrics_file, top_batch, top_rates,
         top_lists, top_screen, top_signals, top_interrupt_key, top_end_of_process,
         top_chooses, top_unknown_terminal]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--build', required=True)
    parser.add_argument('--only', default='')
    options = parser.parse_args()
    tally = Tally('live')
    for function in TESTS:
        name = function.__name__.replace('_', '-')
        if not any(part in name for part in options.only.split(',')):
            continue
        place = Place(options.build)
        try:
            tally.ok(name, function(place) or '')
        except Wrong as wrong:
            tally.fail(name, *str(wrong).split('\n', 1))
        except (OSError, LookupError, ValueError) as error:
            tally.fail(name, repr(error))
        finally:
            shutil.rmtree(place.path)
    return tally.exit_status()


if __name__ == '__main__':
    sys.exit(main())
