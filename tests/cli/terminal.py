"""terminal.py -- a program on a terminal of its own, and what it shows there.

The screen is kept as a real terminal would keep it: what is drawn over is gone. Only what ncurses
sends to a vt100 or an xterm is understood.
"""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

SEQUENCE = re.compile(rb'\x1b\[([?>]?)([0-9;]*)([@-~])|\x1b[()][A-Z0-9]|\x1b[=>78Mc]')
PATIENCE = 20     # seconds until what should appear counts as missing


class Screen:
    """Rows of characters, a cursor, and the sequences that move it."""

    def __init__(self, rows, columns):
        self.resize(rows, columns)

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.cells = [[' '] * columns for _ in range(rows)]
        self.row = self.column = 0
        self.last = ' '

    def text(self):
        return '\n'.join(''.join(row).rstrip() for row in self.cells)

    def put(self, character):
        if self.column < self.columns and self.row < self.rows:
            self.cells[self.row][self.column] = character
        self.column += 1
        self.last = character

    def blank(self, first, last):
        for column in range(max(0, first), min(last, self.columns)):
            self.cells[self.row][column] = ' '

    def obey(self, letter, numbers):
        count = numbers[0] if numbers and numbers[0] else 1
        line = self.cells[min(self.row, self.rows - 1)]
        if letter in 'Hf':
            self.row = count - 1
            self.column = (numbers[1] if len(numbers) > 1 and numbers[1] else 1) - 1
        elif letter == 'd':
            self.row = count - 1
        elif letter == 'G':
            self.column = count - 1
        elif letter in 'ABCD':
            self.row += {'A': -count, 'B': count}.get(letter, 0)
            self.column += {'C': count, 'D': -count}.get(letter, 0)
        elif letter == 'J':
            self.blank(self.column if not numbers or numbers[0] == 0 else 0, self.columns)
            for row in range(0 if numbers and numbers[0] == 2 else self.row + 1, self.rows):
                self.cells[row] = [' '] * self.columns
        elif letter == 'K':
            end = self.column + 1 if numbers and numbers[0] == 1 else self.columns
            self.blank(0 if numbers and numbers[0] in (1, 2) else self.column, end)
        elif letter == 'X':
            self.blank(self.column, self.column + count)
        elif letter == 'P':
            line[self.column:] = line[self.column + count:] + [' '] * count
            del line[self.columns:]
        elif letter == '@':
            line[self.column:self.column] = [' '] * count
            del line[self.columns:]
        elif letter == 'b':
            for _ in range(count):
                self.put(self.last)

    def feed(self, data):
        """Returns what is an unfinished sequence at the end of `data`."""
        at = 0
        while at < len(data):
            byte = data[at:at + 1]
            if byte == b'\x1b':
                match = SEQUENCE.match(data, at)
                if not match:
                    return data[at:]
                if match.group(3) and not match.group(1):
                    self.obey(match.group(3).decode(),
                              [int(n or 0) for n in match.group(2).decode().split(';') if n])
                at = match.end()
                continue
            if byte == b'\r':
                self.column = 0
            elif byte == b'\n':
                self.row = min(self.row + 1, self.rows - 1)
            elif byte == b'\b':
                self.column = max(0, self.column - 1)
            elif byte >= b' ':
                self.put(byte.decode('latin-1'))
            at += 1
        return b''


class Terminal:
    """Runs argv on a terminal. `settings` are its modes before the program began."""

    def __init__(self, argv, env, cwd, rows=40, columns=110, preexec=None):
        self.master, self.slave = pty.openpty()
        self.screen = Screen(rows, columns)
        self.raw, self.rest = b'', b''
        self.set_size(rows, columns)
        self.settings = termios.tcgetattr(self.slave)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.become(argv, env, cwd, preexec)
            finally:
                os._exit(126)

    def become(self, argv, env, cwd, preexec):
        os.setsid()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        for fd in range(3):
            os.dup2(self.slave, fd)
        os.closerange(3, 256)
        os.chdir(cwd)
        if preexec:
            preexec()
        os.execvpe(argv[0], argv, env)

    def set_size(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def resize(self, rows, columns):
        self.read(0)
        self.screen.resize(rows, columns)
        self.set_size(rows, columns)     # the kernel sends SIGWINCH

    def read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            data = os.read(self.master, 65536)
            self.raw += data
            self.rest = self.screen.feed(self.rest + data)

    def press(self, keys):
        os.write(self.master, keys.encode())

    def wait_for(self, *texts):
        """True once all texts are on the screen together."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if all(text in self.screen.text() for text in texts):
                return True
            self.read(0.1)
        return False

    def end(self):
        """Waits for the program's end. Its status, or minus the signal; None: it did not end."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.read(0)
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        return None

    def restored(self):
        """As it was, and back from the alternate screen."""
        return termios.tcgetattr(self.slave) == self.settings and \
            self.raw.rfind(b'\x1b[?1049l') > self.raw.rfind(b'\x1b[?1049h') >= 0

    def close(self):
        if self.pid:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self.master)
        os.close(self.slave)
