"""running.py -- runs one program of this directory and reads what it says.

Two kinds of lines count: `bench NAME METRIC VALUE UNIT` on standard output, from the program, and
Go's gctrace lines on standard error, from the collector: ours, Go's, or Boehm's by way of boehm.c.
"""

import os
import re
import subprocess

LIMIT_S = 600

# gc 3 @1.204s 5%: 0.1+52+0.02 ms clock, ... ms cpu, 47->47->0 MB, ...
GCTRACE = re.compile(r'^gc (\d+) @([\d.]+)\s?s (\d+)%: ([\d.]+)\+([\d.]+)\+([\d.]+) ms clock,'
                     r'.*?(\d+)->(\d+)->(\d+) MB')


class Failed(Exception):
    """A program that did not do its work; the text says which and how."""


def environment(library, options):
    env = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL': 'C'}
    if library:
        env['LD_PRELOAD'] = library
        env['GCMALLOC'] = options
    return env


def run_program(argv, env):
    """(stdout, stderr) of a program that must succeed."""
    try:
        done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f'{os.path.basename(argv[0])} took more than {LIMIT_S} s') from None
    except OSError as why:
        raise Failed(f'{os.path.basename(argv[0])}: {why.strerror}') from None
    out, err = (text.decode('utf-8', 'replace') for text in (done.stdout, done.stderr))
    if done.returncode:
        last = err.strip().splitlines()[-1:] or ['']
        raise Failed(f'{os.path.basename(argv[0])} ended with {done.returncode}: {last[0]}')
    return out, err


def figures(out):
    """{(name, metric): (value, unit)} from the lines `bench NAME METRIC VALUE UNIT`."""
    rows = {}
    for line in out.splitlines():
        words = line.split()
        if len(words) == 5 and words[0] == 'bench':
            rows[words[1], words[2]] = (float(words[3]), words[4])
    return rows


def parse_gctrace(line):
    """One of Go's gctrace lines as a dict, or None."""
    m = GCTRACE.match(line)
    if not m:
        return None
    a, b, c = (float(m.group(i)) for i in (4, 5, 6))
    return {'n': int(m.group(1)), 'at_s': float(m.group(2)), 'clock_ms': [a, b, c],
            'total_ms': a + b + c, 'start_mb': int(m.group(7)), 'end_mb': int(m.group(8)),
            'live_mb': int(m.group(9))}


def measured_cycles(err):
    """The cycles whose line came between `built` and `done`."""
    lines = err.splitlines()
    begin = lines.index('built') if 'built' in lines else 0
    end = lines.index('done') if 'done' in lines else len(lines)
    return [c for c in map(parse_gctrace, lines[begin:end]) if c]


def stops_ms(cycles):
    """Every stop of the world. Nothing between the first time and the last: they were one stop."""
    stops = []
    for first, between, last in (c['clock_ms'] for c in cycles):
        stops += [first, last] if between else [first + last]
    return stops
