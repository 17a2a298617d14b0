"""cases_manual.py -- what is generated from the tables: manual pages, completion, help."""

import os
import re
import subprocess

from cases_report import expect, succeed
from stage import HERE

ROOT = os.path.join(HERE, '..', '..')


def generated(stage, name):
    output = stage.path(name)
    subprocess.run([os.path.join(ROOT, 'scripts', 'gen-manual'), '1.2.3',
                    os.path.join('src', 'cli', 'man', name + '.in'), output], check=True)
    return output


def rows(path, pattern):
    with open(os.path.join(ROOT, path), encoding='utf-8') as file:
        return re.findall(pattern, file.read(), re.M)


def commands():
    return rows('src/cli/commands.inc', r'^COMMAND\((\w+), "([^"]*)"')


def printed(page):
    """The page as text, without a warning of groff's."""
    done = subprocess.run(['man', '--warnings', '-l', page], capture_output=True, text=True,
                          env={'PATH': '/usr/bin:/bin', 'LC_ALL': 'C', 'MANWIDTH': '1000'},
                          check=True)
    expect(done.stderr == '', f'{page}: {done.stderr[:500]}')
    return re.sub(r'.\x08', '', done.stdout)


def manual_pages(stage):
    """Every command, status and option is in its page; groff has no complaint."""
    text = re.sub(' +', ' ', printed(generated(stage, 'gcmalloc.1')))
    for name, arguments in commands():
        expect(f' gcmalloc {name} {arguments}' in text, f'{name} is not in {text}')
    for number in rows('src/cli/command.h', r'^ +STATUS_\w+ = (\d+),'):
        expect(re.search(rf'^ {number} ', text, re.M), f'status {number} is not in {text}')
    text = printed(generated(stage, 'libgcmalloc.7'))
    options = rows('src/sys/options.inc', r'^OPTION_\w+\((\w+),')
    for name in options:
        expect(re.search(rf'^ +{name} \(.+; .+\)$', text, re.M), f'{name} is not in the page')
    expect(len(options) > 20, f'{options}')


def manual_interface(stage):
    """Every function and type of gcmalloc.h is in its page, functions with a text."""
    text = printed(generated(stage, 'gcmalloc.3'))
    functions = rows('src/gcmalloc.h', r'^GCMALLOC_(?:FUNCTION\([^,]+, |FUNCTION\([^,]+,\n +|ACTION\()(\w+),')
    expect(len(functions) > 35, f'{functions}')
    for name in functions:
        expect(re.search(rf'^ +\S.*\b{name}\(.*\);$', text, re.M), f'{name} is not in the page')
    for name in rows('src/gcmalloc.h', r'^(?:enum|struct) (gcmalloc_[a-z]\w+) \{'):
        expect(f' {name} {{' in text, f'{name} is not in the page')
    for word in ['ENOENT', 'EDEADLK', 'Sizes are in bytes', 'nanoseconds', 'Without the library']:
        expect(word in text, f'{word} is not in the page')
    expect('#define' not in text and '__plain' not in text and 'GCMALLOC_ABSENT' not in text, 'code is in the page')


def manual_flags(stage):
    """The flags in the table of commands are those that the commands know."""
    for name, arguments in commands():
        for flag in re.findall(r'--[a-z-]+', arguments):
            result = stage.call(name, flag)
            for word in ('unrecognized', 'ambiguous', 'invalid'):
                expect(word not in result.err_text, f'{name} {flag}: {result.err_text}')


def completion(stage):
    script = generated(stage, 'gcmalloc.bash')
    def complete(*words):
        line = ' '.join(f"'{word}'" for word in words)
        done = subprocess.run(['bash', '-c', f'. {script}; COMP_WORDS=({line}); '
                               f'COMP_CWORD={len(words) - 1}; _gcmalloc; echo "${{COMPREPLY[*]}}"'],
                              capture_output=True, text=True, check=True)
        return done.stdout.split()
    expect(complete('gcmalloc', 'rep') == ['report'], complete('gcmalloc', 'rep'))
    expect(complete('gcmalloc', '') == [name for name, _ in commands()], 'the commands')
    expect('--exitcode' in complete('gcmalloc', 'report', '--ex'), 'flags of report')
    expect(complete('gcmalloc', 'trace', '--p') == [], 'trace has no such flag')
    expect(complete('gcmalloc', 'report', script[:-2]) == [script], 'files')


def help_text(stage):
    text = succeed(stage.call('help'))
    for name, arguments in commands():
        expect(f'gcmalloc {name} {arguments}\n' in text, f'{name} is not in {text}')
        own = succeed(stage.call(name, '--help'))
        expect(own.count('gcmalloc ') == 1 and f'gcmalloc {name} {arguments}\n' in own, own)
    expect(stage.call('no-such').status == 2 and stage.call().status == 2, 'no command')


CASES = [manual_pages, manual_interface, manual_flags, completion, help_text]
