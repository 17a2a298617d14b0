"""cases_input.py -- input that is no profile, output that cannot be written, terminals."""

import json
import os
import pty

from cases_report import expect, leaks_profile, succeed
from harness import clean_env
from stage import frames_of, profile_of

USAGE, NO_FILE, FOREIGN, TRUNCATED, OUTPUT = 2, 3, 4, 5, 10

COMMANDS = [('report',), ('report', '--json'), ('report', '--pprof'), ('report', '--folded'),
            ('reachable',), ('trace',)]


HUGE = 2 ** 63

BAD = [
    ('empty', '', FOREIGN, 'empty'),
    ('foreign', 'hello\n', FOREIGN, 'no profile'),
    ('binary', bytes(range(256)) * 40, FOREIGN, 'no profile'),
    ('long line', 'x' * (1 << 20), FOREIGN, 'no profile'),
    ('version', 'gcmalloc-profile 3\nend 1\n', FOREIGN, 'version 3'),
    ('version-text', 'gcmalloc-profile x\nend 1\n', FOREIGN, 'no profile'),
    ('version-long', 'gcmalloc-profile ' + '9' * (1 << 20) + '\nend 1\n', FOREIGN, 'version 9999'),
    ('first line only', 'gcmalloc-profile 1\n', TRUNCATED, 'cut off'),
    ('half a first line', 'gcmalloc-profile 1', TRUNCATED, 'cut off'),
    ('no end', 'gcmalloc-profile 1\nprocess 1 2 3\n', TRUNCATED, 'cut off'),
    ('cut in a line', profile_of('process 1 2 3')[:-4], TRUNCATED, 'cut off'),
    ('lines missing', 'gcmalloc-profile 1\nprocess 1 2 3\nend 9\n', TRUNCATED, '2 lines'),
    ('zero byte', profile_of('program /bin/\0cat'), FOREIGN, 'zero byte'),
    ('no number', profile_of('process 1 x 3'), FOREIGN, 'line 2: a field is no number'),
    ('negative', profile_of('process 1 -2 3'), FOREIGN, 'no number'),
    ('field missing', profile_of('process 1'), FOREIGN, 'line 2: a field is missing'),
    ('absurd', profile_of(f'site 1 {HUGE} 1 1 1'), FOREIGN, 'absurdly large'),
    ('very absurd', profile_of('site 1 ' + '9' * 5000 + ' 1 1 1'), FOREIGN, 'absurdly large'),
    ('absurd sum', profile_of(*[f'leak 0 1 direct remaining 1 {HUGE - 1} 1 1'] * 2), FOREIGN,
     'absurdly large'),
    ('kind', profile_of('leak 1 1 crooked remaining 1 1 1 1'), FOREIGN, 'none of its values'),
    ('branch of a later one', profile_of('branch 1 0 2 1', 'stack 2 0 a'), FOREIGN, 'none before'),
    ('branch of none', profile_of('branch 3 0 2 1 a', 'stack 1 0 a'), FOREIGN, 'goes on from 2'),
    ('branch beyond', profile_of('branch 3 0 1 2 a', 'stack 1 0 a'), FOREIGN, 'not 2 frames'),
    ('branches without end', profile_of('stack 1 0 a', *[f'branch {i + 1} 0 {i} {i} a'
                                                         for i in range(1, 5000)]), FOREIGN,
     'not 1024 frames'),
    ('backwards', profile_of('module 20 10 0 0 - /x'), FOREIGN, 'ends before'),
]


def input_refused(stage):
    """One line and the status, by every command that reads profiles."""
    for name, content, status, text in BAD:
        path = stage.write('bad.profile', content)
        for command in COMMANDS:
            output = ('--output', 'bad.out') if '--pprof' in command else ()
            result = stage.call(*command, *output, path)
            expect(result.status == status, f'{name}, {command}: status {result.status}, '
                   f'{result.err_text[:300]!r}')
            expect(text in result.err_text and result.err_text.count('\n') == 1 and
                   len(result.err) < 400, f'{name}: {result.err_text[:400]!r}')
            expect(result.out == b'', f'{name}, {command}: wrote {result.out[:100]!r}')


def input_unreadable(stage):
    for path in (stage.path('missing'), stage.directory):
        for command in (*COMMANDS, ('diff', leaks_profile(stage))):
            result = stage.call(*command, path)
            expect(result.status == NO_FILE and result.err_text.count('\n') == 1,
                   f'{command} {path}: {result.status} {result.err_text!r}')
    if os.getuid() == 0:
        # Root may read everything; nobody may not.
        secret = stage.write('secret', '', 0)
        os.chmod(stage.directory, 0o755)
        result = stage.call('report', secret, preexec=lambda: os.setuid(65534))
        expect(result.status == NO_FILE and 'Permission denied' in result.err_text, result.err_text)


def input_strange_but_good(stage):
    """What a newer library adds is skipped; names of any bytes; a text of 1 MB; no stacks."""
    long = 'y' * (1 << 20)
    content = profile_of('process 7 1 0 8 9', 'program /bin/a\\x0ab', 'argument ' + long,
                         'novelty 1 2 3', 'note bytes \\xff\\x5c', 'leak 99 8 direct remaining 1 8 1 1 5',
                         'event 1 2 NOVELTY 3 4', 'reach 0 16 1 16', 'moment 1 2 3 4 5 6 7')
    path = stage.write('strange.profile', content)
    for command in COMMANDS:
        output = ('--output', 'strange.out') if '--pprof' in command else ()
        succeed(stage.call(*command, *output, path))
    data = json.loads(succeed(stage.call('report', '--json', path)))
    expect(data['process']['program'] == '/bin/a\nb', data['process']['program'])
    expect(data['process']['arguments'] == [long], 'the long argument')
    expect(data['notes'] == ['bytes \ufffd\\'], data['notes'])
    expect(data['events'][0]['kind'] == 'NOVELTY', data['events'])
    empty = stage.write('nothing.profile', profile_of())
    expect('no leaks' in succeed(stage.call('report', empty)), 'a profile without anything')
    succeed(stage.call('diff', empty, empty))


def input_times(stage):
    """Of modules one after the other at a place, that of the stack's time; of none, no name."""
    path = stage.write('times.profile', profile_of(
        'module 700000000000 700000010000 0 100 - /first', 'module 700000000000 700000010000 200 0 - /next',
        'module 710000000000 710000010000 500 0 - /late',
        'stack 1 50 700000000101', 'stack 2 250 700000000101', 'stack 3 150 700000000101',
        'stack 4 50 710000000101', 'stack 5 50 720000000101'))
    data = json.loads(succeed(stage.call('report', '--json', path)))
    stacks = {n: frames_of(data, n) for n in range(1, 6)}
    found = [stacks[n][0]['module'] for n in range(1, 6)]
    expect(found == ['/first', '/next', None, '/late', None], found)
    expect(stacks[1][0]['pc'] == '0x700000000100' and stacks[1][0]['offset'] == '0x100', stacks)


def output_full(stage):
    """A full disk is noticed, by every form."""
    path = leaks_profile(stage)
    for command in (*COMMANDS, ('diff', path)):
        for target in ('/dev/full', stage.path('no/such/directory')):
            result = stage.call(*command, '--output', target, path)
            expect(result.status == OUTPUT and target in result.err_text, f'{command}: '
                   f'{result.status} {result.err_text!r}')
        if '--pprof' not in command:
            with open('/dev/full', 'w', encoding='ascii') as full:
                result = stage.call(*command, path, preexec=lambda: os.dup2(full.fileno(), 1))
            expect(result.status == OUTPUT and 'standard output' in result.err_text,
                   f'{command}: {result.status} {result.err_text!r}')


def usage_refused(stage):
    path = leaks_profile(stage)
    for arguments in (('report',), ('report', path, path), ('report', '--max-leaks', 'x', path),
                      ('report', '--exitcode', '256', path), ('report', '--sample', 'x', path),
                      ('report', '--no-such', path), ('diff', path), ('reachable', '--max', '-1', path),
                      ('reachable', '--symbolize-seconds', 'x', path), ('trace',), ('run',), ('run', '--set', 'x', '/bin/true'),
                      ('report', '--suppressions', stage.write('wrong', 'race:x\n'), path)):
        result = stage.call(*arguments)
        expect(result.status == USAGE and result.err and result.out == b'',
               f'{arguments}: {result.status} {result.err_text!r}')


def on_terminal(arguments, env):
    """What a command writes to a terminal."""
    pid, master = pty.fork()
    if pid == 0:
        os.execve(arguments[0], arguments, env)
    output = b''
    try:
        while True:
            output += os.read(master, 65536)
    except OSError:
        pass      # the other side has ended
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output


def terminal(stage):
    """Colours on a terminal only, and not with NO_COLOR; nothing binary there."""
    path = leaks_profile(stage)
    status, output = on_terminal([stage.gcmalloc, 'report', path], clean_env())
    expect(status == 0 and b'\033[1m\033[31m==' in output, output[:300])
    status, output = on_terminal([stage.gcmalloc, 'report', path], clean_env({'NO_COLOR': '1'}))
    expect(status == 0 and b'\033' not in output and b'==ERROR' in output, output[:300])
    expect(b'\033' not in stage.call('report', path).out, 'colours in a file')
    status, output = on_terminal([stage.gcmalloc, 'report', '--pprof', path], clean_env())
    expect(status == USAGE and b'terminal' in output and b'\x1f\x8b' not in output, output[:300])


CASES = [input_refused, input_unreadable, input_strange_but_good, input_times, output_full,
         usage_refused, terminal]
