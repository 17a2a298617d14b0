"""stage.py -- where one case runs once: a work directory, a library or none, and what was observed.

A case is a function that gets a Stage. It runs programs through it (`program`: under the library;
`tool`: never) and says what must be the same in every run (`observe...`). What must not happen at all --
a time limit, a process left behind, a word of complaint from the library -- raises Trouble.
"""

import contextlib
import hashlib
import http.client
import os
import queue
import re
import socket
import subprocess
import threading
import time

import leak_report
from harness import clean_env, kill_all, restrain, run, session_members, signal_name, stacks_of

INPUTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'inputs')


class Trouble(Exception):
    """A case cannot go on: `why` is one line, `details` as long as it takes."""

    def __init__(self, why, details=''):
        super().__init__(why)
        self.why = why
        self.details = details


class Stage:
    """`preload` None: the plain run, the measure of the others."""

    def __init__(self, work, preload, options, patience):
        self.work = work
        self.preload = preload
        self.options = options
        self.patience = patience      # factor on every time limit
        self.observed = {}
        self.notes = []
        self.log = []

    # ---- environments

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def input(self, name):
        return os.path.join(INPUTS, name)

    def tool_env(self, extra=None):
        return clean_env({'HOME': self.work, **(extra or {})})

    def program_env(self, extra=None):
        env = self.tool_env(extra)
        if self.preload:
            env['LD_PRELOAD'] = self.preload
            env['GCMALLOC'] = self.options
        return env

    # ---- running to the end

    def _run(self, argv, env, stdin, timeout):
        limit = timeout * self.patience
        result = run(argv, timeout=limit, env=env, cwd=self.work, stdin=stdin)
        self.log.append(f'$ {" ".join(argv)}  [{signal_name(result.status)}, {result.seconds:.1f} s]')
        if result.timed_out:
            raise Trouble(f'{os.path.basename(argv[0])}: no end after {limit:.0f} s', result.traces)
        if result.leftover:
            raise Trouble(f'{os.path.basename(argv[0])}: left processes behind: {result.leftover}',
                          result.traces)
        check_complaints(result.err_text)
        return result

    def program(self, argv, *, stdin=None, env=None, timeout=120):
        """Runs a program under test."""
        return self._run(argv, self.program_env(env), stdin, timeout)

    def tool(self, argv, *, stdin=None, env=None, timeout=60):
        """Runs a helper, which must end with status 0."""
        result = self._run(argv, self.tool_env(env), stdin, timeout)
        if result.status != 0:
            raise Trouble(f'{argv[0]} ended with {signal_name(result.status)}',
                          result.out_text + result.err_text)
        return result

    # ---- observing

    def observe(self, name, value):
        self.observed[name] = value

    def observe_result(self, name, result, *, stderr=True):
        self.observe(f'{name} status', signal_name(result.status))
        self.observe(f'{name} stdout', result.out)
        if stderr:
            self.observe(f'{name} stderr', result.err)

    def observe_files(self, *names):
        """Files, and all files of folders, by checksum."""
        for name in names:
            top = self.path(name)
            if not os.path.isdir(top):
                self.observe(f'file {name}', checksum(top))
                continue
            for folder, _, files in os.walk(top):
                for file in files:
                    path = os.path.join(folder, file)
                    self.observe(f'file {os.path.relpath(path, self.work)}', checksum(path))

    def note(self, text):
        """For the line of the test; not compared."""
        self.notes.append(text)

    # ---- servers

    @contextlib.contextmanager
    def server(self, argv, *, ready, stop, timeout=60):
        """Starts a server under test, waits for the line `ready` in what it prints, and after the
        body calls stop(server) and observes how it ended."""
        server = Server(self, argv, ready, timeout * self.patience)
        try:
            yield server
            stop(server)
            server.finish(timeout * self.patience)
        except (Trouble, OSError, http.client.HTTPException) as error:
            raise Trouble(f'{argv[0]}: {error}', server.state(getattr(error, 'details', ''))) from error
        finally:
            server.kill()
        check_complaints(server.text())


class Server:
    """A running server; its output is collected by a thread, so that it never blocks on us."""

    def __init__(self, stage, argv, ready, timeout):
        self.stage, self.argv = stage, argv
        self.lines, self.news = [], queue.Queue()
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=stage.program_env(),
                                        cwd=stage.work, start_new_session=True)
        restrain(self.process.pid)
        self.reader = threading.Thread(target=self._collect, daemon=True)
        self.reader.start()
        try:
            self.wait_for(ready, timeout)
        except Trouble as trouble:
            details = self.state('')
            self.kill()
            raise Trouble(f'{argv[0]}: {trouble.why}', details) from None

    def _collect(self):
        for line in self.process.stdout:
            self.news.put(line.decode('utf-8', 'replace'))
        self.news.put(None)

    def text(self):
        return ''.join(self.lines)

    def wait_for(self, pattern, timeout):
        """Waits for a line; a server that ends instead, or stays silent, is trouble."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self.news.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise Trouble(f'no line like {pattern!r} in {timeout:.0f} s') from None
            if line is None:
                self.process.wait()
                raise Trouble(f'ended ({signal_name(self.process.returncode)}) before {pattern!r}')
            self.lines.append(line)
            if re.search(pattern, line):
                return

    def state(self, details):
        """What a failure with this server should show: what it printed, and where it is."""
        stacks = '\n'.join(stacks_of(pid) for pid in session_members(self.process.pid))
        self.drain()
        return f'{details}\n--- printed by {self.argv[0]} ---\n{self.text()}{stacks}'

    def drain(self):
        while not self.news.empty():
            line = self.news.get()
            if line is not None:
                self.lines.append(line)

    def alive(self):
        return self.process.poll() is None

    def finish(self, timeout):
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Trouble('does not stop') from None
        self.reader.join(10)
        self.drain()
        self.stage.observe('server status', signal_name(status))

    def kill(self):
        kill_all(session_members(self.process.pid))
        self.process.wait()


def checksum(path):
    try:
        with open(path, 'rb') as file:
            return hashlib.sha256(file.read()).hexdigest()
    except FileNotFoundError:
        return 'missing'


def check_complaints(text):
    spoken = leak_report.complaints(text)
    if spoken:
        raise Trouble(f'the library complains: {spoken[0]}', '\n'.join(spoken[:20]))


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]
