"""stage.py -- a directory with programs built for the tests of the command, and how it is called."""

import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from harness import clean_env, run  # noqa: E402

# Every block has its stack; nothing is reclaimed while the program runs.
ALL = 'stacks=all,mode=report'


def profile_of(*lines):
    """A whole profile of these lines."""
    body = ['gcmalloc-profile 2', *lines]
    return '\n'.join([*body, f'end {len(body)}', ''])


def frames_of(data, stack):
    """The frames of a stack in what report --json wrote."""
    return [frame for place in data['stacks'][str(stack)] for frame in data['frames'][place]]


def command(build):
    return os.path.abspath(os.path.join(build, 'src', 'cli', 'gcmalloc'))


class Stage:
    """Programs are built when they are first asked for."""

    def __init__(self, build, directory):
        self.gcmalloc = command(build)
        self.directory = directory
        self.profiles = {}

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, content, mode=0o644):
        with open(self.path(name), 'wb') as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(self.path(name), mode)
        return self.path(name)

    def compile(self, name, source, *flags):
        if not os.path.exists(self.path(name)):
            compiler = 'g++' if source.endswith('.cc') else 'gcc'
            subprocess.run([compiler, '-O2', '-g', '-o', self.path(name), os.path.join(HERE, source),
                            *flags], check=True, env=clean_env({'TMPDIR': self.directory}))
        return self.path(name)

    def leaks(self):
        return self.compile('leaks', 'leaks.c')

    def plugins(self):
        return [self.compile(f'{place}.so', 'plugin.c', '-shared', '-fPIC', f'-DPLACE={place}',
                             '-fvisibility=hidden')
                for place in ('first_place', 'other_place')]

    def call(self, *arguments, env=None, stdin=None, timeout=60, preexec=None):
        return run([self.gcmalloc, *arguments], timeout=timeout, stdin=stdin, preexec=preexec,
                   cwd=self.directory, env=clean_env({'TMPDIR': self.directory, **(env or {})}))

    def profile(self, name, *program, options=ALL):
        """The profile of a run of a program, made once."""
        if name not in self.profiles:
            path = self.path(name + '.profile')
            result = self.call('run', '--output', path, *program, env={'GCMALLOC': options})
            if result.status != 0:
                raise AssertionError(f'{program}: status {result.status}: {result.err_text[-400:]}')
            self.profiles[name] = path
        return self.profiles[name]

    def copy(self, name, to):
        shutil.copy(self.path(name), self.path(to))
        return self.path(to)
