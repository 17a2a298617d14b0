"""cases_run.py -- `gcmalloc run`: the program is as without it, and what cannot be run is refused."""

import os
import signal
import subprocess

from cases_report import expect, succeed
from harness import clean_env
from stage import ALL

UNFIT = 9


def ends(stage):
    return stage.compile('ends', 'ends.c')


def run_statuses(stage):
    for status in (0, 1, 7, 126, 255):
        result = stage.call('run', ends(stage), 'exit', str(status))
        expect(result.status == status, f'exit {status}: {result.status}')
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGABRT):
        result = stage.call('run', ends(stage), 'signal', str(int(number)))
        expect(result.status == -number, f'signal {number}: {result.status}')


def run_streams(stage):
    """Standard input and output are the program's alone; the report is on standard error."""
    result = stage.call('run', '/bin/cat', stdin=b'\0one\ntwo')
    expect(result.out == b'\0one\ntwo', result.out)
    result = stage.call('run', stage.leaks(), '4', env={'GCMALLOC': ALL})
    expect(result.out == b'done\n', result.out)
    expect('384 byte(s) leaked in 4 allocation(s)' in result.err_text, result.err_text)
    expect(' in innermost ' in result.err_text, result.err_text)


def run_options(stage):
    """GCMALLOC is passed through, --set comes after it; nothing is left behind."""
    result = stage.call('run', '--set', 'stacks=none', stage.leaks(), '4', env={'GCMALLOC': ALL})
    expect('(no stack recorded' in result.err_text, result.err_text)
    result = stage.call('run', '--exitcode', '23', stage.leaks(), '4', env={'GCMALLOC': ALL})
    expect(result.status == 23, f'--exitcode: {result.status}')
    result = stage.call('run', '--exitcode', '23', stage.leaks(), '0', env={'GCMALLOC': ALL})
    expect(result.status == 0, f'--exitcode without leaks: {result.status}')
    left = [name for name in os.listdir(stage.directory) if name.startswith('gcmalloc-run')]
    expect(not left, f'left behind: {left}')


def run_forms(stage):
    """Several forms of one run."""
    stage.call('run', '--json', 'run.json', '--folded', 'run.folded', '--output', 'run.profile',
               stage.leaks(), '4', env={'GCMALLOC': ALL})
    for name, text in [('run.json', b'"version": 2'), ('run.folded', b'middle;innermost 384'),
                       ('run.profile', b'gcmalloc-profile 2\n')]:
        with open(stage.path(name), 'rb') as file:
            expect(text in file.read(), f'{name} lacks {text}')


def run_children(stage):
    """The program's own profile is shown, not one of its children's."""
    result = stage.call('run', '/bin/sh', '-c', f'{stage.leaks()} 4; exit 5', env={'GCMALLOC': ALL})
    expect(result.status == 5, f'status {result.status}')
    expect('384 byte(s)' not in result.err_text, result.err_text)


def run_signals(stage):
    """A signal sent to the command reaches the program, which answers it."""
    process = subprocess.Popen([stage.gcmalloc, 'run', ends(stage), 'wait'],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=clean_env({'TMPDIR': stage.directory}))
    try:
        expect(process.stdout.readline() == b'waiting\n', 'the program did not start')
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    finally:
        process.kill()
    expect(process.returncode == signal.SIGTERM + 40, f'status {process.returncode}')
    process.stdout.close()
    process.stderr.close()


def refused(stage, program, status, text):
    result = stage.call('run', program)
    expect(result.status == status, f'{program}: status {result.status}, {result.err_text}')
    expect(text in result.err_text and result.err_text.count('\n') == 1,
           f'{program}: {result.err_text!r}')
    expect(result.out == b'', f'{program} ran')


def run_refusals(stage):
    refused(stage, 'no-such-program', 127, 'no such program')
    refused(stage, './no-such-program', 127, 'no such program')
    refused(stage, stage.write('data', 'x'), 126, 'cannot be executed')
    refused(stage, stage.directory, 126, 'cannot be executed')
    static = stage.compile('static', 'ends.c', '-static')
    refused(stage, static, UNFIT, 'statically linked')
    refused(stage, stage.compile('static-pie', 'ends.c', '-static-pie'), UNFIT, 'statically linked')
    refused(stage, stage.write('script', f'#! {static} x\n', 0o755), UNFIT, 'statically linked')
    with open(ends(stage), 'rb') as file:
        image = bytearray(file.read())
    image[4] = 1
    refused(stage, stage.write('narrow', bytes(image), 0o755), UNFIT, '32-bit')
    image[4] = 2
    image[18] = 183
    refused(stage, stage.write('arm', bytes(image), 0o755), UNFIT, 'another processor')
    refused(stage, stage.write('stub', b'\x7fELF\x02', 0o755), UNFIT, 'cut off')


def run_raised_rights(stage):
    """A program of another user that is set-user-id would run without the library."""
    if os.getuid() != 0:
        return 'needs root'
    ends(stage)
    for bits in (0o4755, 0o2755):
        program = stage.copy('ends', f'raised-{bits:o}')
        os.chown(program, 65534, 65534)
        os.chmod(program, bits)
        refused(stage, program, UNFIT, 'set-user-id')
    return None


def run_script(stage):
    """A script runs under the library if its interpreter does; also one without #!."""
    for name, head in (('plain', ''), ('sh', '#!/bin/sh\n')):
        script = stage.write(name, head + 'echo "$LD_PRELOAD"', 0o755)
        text = succeed(stage.call('run', script))
        expect('libgcmalloc.so' in text, f'{name}: {text!r}')


def run_library(stage):
    result = stage.call('run', '/bin/true', env={'GCMALLOC_LIBRARY': '/no/such.so'})
    expect(result.status == 3 and 'GCMALLOC_LIBRARY' in result.err_text, result.err_text)


CASES = [run_statuses, run_streams, run_options, run_forms, run_children, run_signals,
         run_refusals, run_raised_rights, run_script, run_library]
