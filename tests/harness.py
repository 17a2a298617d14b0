"""harness.py -- runs one program under a time limit, for every runner of this directory.

A program runs in a session of its own, with its output in files (a pipe that nobody empties would
change its behaviour) and a fixed environment. The parent waits on a pidfd, not in a sleep loop.

What runs into the limit is a failure, and the useful part of that failure is where: before anything
is killed, gdb prints the stacks of every process of the session. What is left of the session after
the program ended is killed by its process id and named in `leftover`.
"""

import os
import resource
import select
import signal
import subprocess
import tempfile
import time

# A program that goes wild must not take the machine with it: what it may write, what we read of it.
MOST_WRITTEN = 2 << 30
MOST_READ = 64 << 20

CLEAN_PATH = '/usr/sbin:/usr/bin:/sbin:/bin'

# A shell starts what it puts in the background with SIGINT ignored, and programs inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Result:
    """How one program ended. `status` is the exit status, or minus the signal."""

    def __init__(self, status, out, err, maxrss_kb, seconds, timed_out, leftover, traces):
        self.status = status
        self.out = out
        self.err = err
        self.maxrss_kb = maxrss_kb
        self.seconds = seconds
        self.timed_out = timed_out
        self.leftover = leftover
        self.traces = traces

    @property
    def err_text(self):
        return self.err.decode('utf-8', 'replace')

    @property
    def out_text(self):
        return self.out.decode('utf-8', 'replace')


def clean_env(extra=None):
    """The environment of every test program: no locale, no settings of the user."""
    env = {'PATH': CLEAN_PATH, 'HOME': '/nonexistent', 'LC_ALL': 'C', 'TZ': 'UTC'}
    if extra:
        env.update(extra)
    return env


def session_members(session):
    """Process ids whose session is `session`, zombies left out."""
    members = []
    for name in os.listdir('/proc'):
        if not name.isdigit():
            continue
        try:
            with open(f'/proc/{name}/stat', encoding='latin-1') as stat:
                fields = stat.read().rpartition(')')[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in 'ZX':
            members.append(int(name))
    return members


def stacks_of(pid):
    """Where each thread of a process is: what the kernel says, then what gdb says."""
    lines = [f'--- process {pid} ---']
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as cmdline:
            lines.append(cmdline.read().replace(b'\0', b' ').decode('utf-8', 'replace'))
        for task in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{task}/wchan', encoding='latin-1') as wchan:
                lines.append(f'task {task}: {wchan.read()}')
    except OSError as error:
        lines.append(str(error))
    gdb = ['gdb', '-nx', '-batch', '-p', str(pid), '-ex', 'set pagination off',
           '-ex', 'set print frame-arguments scalars', '-ex', 'thread apply all bt 24']
    try:
        done = subprocess.run(gdb, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, check=False, env=clean_env())
        lines.append(done.stdout.decode('utf-8', 'replace'))
    except subprocess.TimeoutExpired:
        lines.append('gdb: no answer in 60 s')
    return '\n'.join(lines)


def kill_all(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def restrain(pid):
    """Bounds the files a process may write, and makes it the first to go when memory runs out."""
    try:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (MOST_WRITTEN, MOST_WRITTEN))
        with open(f'/proc/{pid}/oom_score_adj', 'w', encoding='ascii') as score:
            score.write('900')
    except OSError:
        pass      # it has ended already


def wait_until(pidfd, deadline):
    """True once the process has ended, False at the deadline."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(max(0, deadline - time.monotonic()) * 1000))


def wait_session_empty(session, deadline):
    """Waits for the processes that a program left behind; those still there are returned."""
    while True:
        members = session_members(session)
        if not members:
            return []
        try:
            pidfd = os.pidfd_open(members[0])
        except ProcessLookupError:
            continue
        try:
            if not wait_until(pidfd, deadline):
                return session_members(session)
        finally:
            os.close(pidfd)


def run(argv, *, timeout, env=None, cwd=None, stdin=None, linger=5, preexec=None):
    """Runs argv to its end. `env` is the whole environment; `stdin` bytes, or None for none.
    Processes that the program left behind have `linger` seconds to end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, \
            tempfile.TemporaryFile() as source:
        if stdin:
            source.write(stdin)
            source.seek(0)
        start = time.monotonic()
        process = subprocess.Popen(argv, stdin=source if stdin else subprocess.DEVNULL, stdout=out,
                                   stderr=err, env=env if env is not None else clean_env(),
                                   cwd=cwd, start_new_session=True, preexec_fn=preexec)
        restrain(process.pid)
        traces, timed_out = '', False
        pidfd = os.pidfd_open(process.pid)
        if not wait_until(pidfd, start + timeout):
            timed_out = True
            members = session_members(process.pid)
            traces = '\n'.join(stacks_of(pid) for pid in members)
            kill_all(members)
        os.close(pidfd)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        leftover = wait_session_empty(process.pid, time.monotonic() + linger)
        if leftover and not timed_out:
            traces = '\n'.join(stacks_of(pid) for pid in leftover)
        kill_all(leftover)
        out.seek(0)
        err.seek(0)
        return Result(process.returncode, out.read(MOST_READ), err.read(MOST_READ), usage.ru_maxrss, seconds,
                      timed_out, leftover, traces)


def signal_name(status):
    return signal.Signals(-status).name if status < 0 else f'exit {status}'


class Tally:
    """Prints one line per test and counts. A failure's details are indented below its line."""

    def __init__(self, suite):
        self.suite = suite
        self.passed = 0
        self.failed = 0

    def ok(self, name, note=''):
        self.passed += 1
        print(f'ok   {self.suite}/{name}' + (f'  ({note})' if note else ''), flush=True)

    def fail(self, name, why, details=''):
        self.failed += 1
        print(f'FAIL {self.suite}/{name}: {why}', flush=True)
        for line in details.splitlines():
            print('     | ' + line, flush=True)

    def exit_status(self):
        return 1 if self.failed or not self.passed else 0
