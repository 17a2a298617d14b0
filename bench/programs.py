"""programs.py -- real programs, whole, under each allocator: time, and peak resident memory.

run.py's group `program`. What an allocator's own loops promise arrives in programs only in part;
these are Debian's, on inputs that are made here, always the same ones:

  program.redis    redis-server under redis-benchmark on 127.0.0.1: time for each request, the
                   geometric mean of ten commands
  program.python3  objects, dictionaries, text, json; PYTHONMALLOC=malloc, or python's own pools
                   would hide the allocator
  program.sqlite3  a database in memory: inserts, indices, joins, updates, deletes
  program.lua      binary trees in lua5.4, which frees them by its own collector
  program.perl     hashes, sorting, regular expressions
  program.gcc      gcc -O2 of one large file (cc1 and as are its children)
  program.jq       jq over a large document
  program.magick   ImageMagick: a picture made, scaled, blurred, turned, written as PNG

All but redis are run by command.c, which measures without its own pages. redis-server is linked
against jemalloc as Debian builds it: without a preload it would not run on glibc's malloc, so
`glibc` preloads libc itself. Its peak is VmHWM.
"""

import json
import os
import random
import socket
import statistics
import subprocess
import tempfile
import time

from running import Failed, environment, figures, run_program

LIBC = '/lib/x86_64-linux-gnu/libc.so.6'
REDIS_COMMANDS = 'set,get,incr,lpush,lpop,sadd,hset,zadd,lrange_100,mset'
START_S, END_S = 20, 30

PYTHON = '''
import json, random
rng = random.Random(1)
class Order:
    def __init__(self, number):
        self.number = number
        self.lines = [("part%d" % rng.randrange(5000), rng.random())
                      for _ in range(rng.randrange(9))]
orders = [Order(i) for i in range(ORDERS)]
by_part = {}
for order in orders:
    for part, price in order.lines:
        by_part.setdefault(part, []).append((order.number, price))
text = json.dumps({part: sorted(found) for part, found in by_part.items()})
again = json.loads(text)
words = {}
for word in text.replace("[", " ").replace(",", " ").split():
    words[word] = words.get(word, 0) + 1
for _ in range(ORDERS):
    i = rng.randrange(len(orders))
    orders[i] = Order(orders[i].number)
print(len(again), len(words), sum(len(order.lines) for order in orders))
'''

SQL = '''
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, town INTEGER);
CREATE TABLE sale(id INTEGER PRIMARY KEY, customer INTEGER, amount REAL, note TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ROWS / 10)
  INSERT INTO customer SELECT i, 'name ' || (i * 7919 % 10007), i % 97 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ROWS)
  INSERT INTO sale SELECT i, 1 + i * 31 % (ROWS / 10), i * 37 % 1000 / 10.0,
    substr('a note of some length that is cut somewhere', 1, i % 40) FROM n;
CREATE INDEX sale_customer ON sale(customer);
CREATE INDEX customer_name ON customer(name);
SELECT town, count(*), sum(amount) FROM sale JOIN customer ON customer.id = sale.customer
  GROUP BY town ORDER BY 3 DESC;
SELECT name, group_concat(note, '|') FROM sale JOIN customer ON customer.id = customer GROUP BY name
  HAVING count(*) > 12;
UPDATE sale SET note = note || ' and more', amount = amount * 1.1 WHERE id % 3 = 0;
DELETE FROM sale WHERE id % 5 = 0;
SELECT count(DISTINCT note), avg(amount) FROM sale;
'''

LUA = '''
local function tree(depth)
  if depth == 0 then return {} end
  return {tree(depth - 1), tree(depth - 1)}
end
local function count(t) return t[1] and 1 + count(t[1]) + count(t[2]) or 1 end
local long = tree(DEPTH)
for depth = 4, DEPTH, 2 do
  local sum, times = 0, 1 << (DEPTH - depth + 2)
  for _ = 1, times do sum = sum + count(tree(depth)) end
  print(depth, times, sum)
end
print(count(long))
'''

PERL = r'''
use strict; use warnings;
my (%count, %by_length, $seed);
$seed = 1;
sub draw { $seed = ($seed * 1103515245 + 12345) % 2147483648; return $seed % $_[0]; }
my @lines;
for my $i (1 .. LINES) {
    push @lines, join ' ', map { "word" . draw(20000) . ("x" x draw(12)) } 1 .. 8;
}
for my $line (@lines) {
    while ($line =~ /(word\d+)(x*)/g) { $count{$1}++; push @{$by_length{length $2}}, $1; }
    $line =~ s/word(\d)(\d*)/$2$1/g;
}
my @most = (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 9];
print "@most ", scalar(keys %by_length), " ", length(join "\n", sort @lines), "\n";
'''


# ---- the inputs ----------------------------------------------------------------------------------

def c_source(functions):
    """A file of so many different functions that call one another."""
    rng, lines = random.Random(2), ['#include <stdio.h>', '#include <string.h>',
                                    'struct node { struct node *next; int key; char text[32]; };']
    for i in range(functions):
        callee = f'f{rng.randrange(i)}(n->next, x ^ i)' if i else 'x'
        lines.append(f'''
int f{i}(struct node *n, int x)
{{
    int sum = {rng.randrange(1000)};
    for (int i = 0; n && i < x % {rng.randrange(5, 99)}; i++, n = n->next) {{
        switch (n->key % {rng.randrange(3, 9)}) {{
        case 0: sum += {callee}; break;
        case 1: sum ^= n->text[i % 32] * {rng.randrange(100)}; break;
        case 2: snprintf(n->text, sizeof n->text, "%d {i}", sum); break;
        default: sum -= (int)strlen(n->text) << {rng.randrange(4)};
        }}
    }}
    return sum;
}}''')
    return '\n'.join(lines) + '\n'


def json_document(entries):
    rng = random.Random(3)
    return json.dumps([{'id': i, 'name': f'name{rng.randrange(10**6)}', 'group': rng.randrange(100),
                        'tags': [f'tag{rng.randrange(50)}' for _ in range(rng.randrange(6))],
                        'place': {'x': rng.random(), 'y': rng.random()}} for i in range(entries)])


def inputs(work, quick):
    """{file name: path}, written anew."""
    texts = {
        'work.py': PYTHON.replace('ORDERS', '3000' if quick else '40000'),
        'work.sql': SQL.replace('ROWS', '5000' if quick else '400000'),
        'work.lua': LUA.replace('DEPTH', '8' if quick else '16'),
        'work.pl': PERL.replace('LINES', '1000' if quick else '100000'),
        'work.c': c_source(20 if quick else 400),
        'work.json': json_document(1000 if quick else 60000),
    }
    paths = {name: os.path.join(work, name) for name in texts}
    for name, text in texts.items():
        with open(paths[name], 'w', encoding='utf-8') as file:
            file.write(text)
    return paths


def commands(work, quick):
    """[(key, argv, more of the environment)]"""
    path = inputs(work, quick)
    picture = '200x150' if quick else '1600x1200'
    return [
        ('python3', ['/usr/bin/python3', '-S', path['work.py']], {'PYTHONMALLOC': 'malloc'}),
        ('sqlite3', ['sqlite3', ':memory:', f'.read {path["work.sql"]}'], {}),
        ('lua', ['lua5.4', path['work.lua']], {}),
        ('perl', ['perl', path['work.pl']], {}),
        ('gcc', ['gcc', '-O2', '-c', '-o', os.path.join(work, 'work.o'), path['work.c']], {}),
        ('jq', ['jq', '-c', 'map(select(.group < 90)) | group_by(.group) | map({group: .[0].group, '
                'tags: (map(.tags) | add | unique), x: (map(.place.x) | add), names: map(.name)})',
                path['work.json']], {}),
        ('magick', ['convert', '-seed', '4', '-size', picture, 'plasma:', '-resize', '70%', '-blur',
                    '0x2', '-rotate', '7', '-colors', '64', f'png:{os.path.join(work, "out.png")}'],
         {}),
    ]


# ---- redis ---------------------------------------------------------------------------------------

def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def wait_for_port(port, server):
    for _ in range(START_S * 50):
        if server.poll() is not None:
            raise Failed(f'redis-server ended with {server.returncode} before it listened')
        try:
            socket.create_connection(('127.0.0.1', port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Failed(f'redis-server does not listen after {START_S} s')


def peak_kib(pid):
    with open(f'/proc/{pid}/status', encoding='utf-8') as lines:
        return next(float(line.split()[1]) for line in lines if line.startswith('VmHWM:'))


def request_times(csv):
    """{command: microseconds a request} of lines `"SET","requests a second",...`."""
    found = {}
    for line in csv.splitlines():
        words = [word.strip('"') for word in line.split(',')]
        if len(words) > 1 and words[1].replace('.', '').isdigit() and float(words[1]) > 0:
            found[words[0].split(' ')[0].lower()] = round(1e6 / float(words[1]), 4)
    return found


def redis_rows(port, pid, requests):
    out, _ = run_program(['redis-benchmark', '-h', '127.0.0.1', '-p', str(port), '-q', '--csv',
                          '-n', str(requests), '-c', '20', '-P', '16', '-r', '100000', '-d', '200',
                          '-t', REDIS_COMMANDS], environment(None, ''))
    found = request_times(out)
    if len(found) != len(REDIS_COMMANDS.split(',')):
        raise Failed(f'redis-benchmark measured only {" ".join(found)}')
    rows = {('redis', command): (us, 'us') for command, us in found.items()}
    # Each command counts the same: the mean is geometric.
    rows['redis', 'time'] = (round(statistics.geometric_mean(found.values()), 4), 'us')
    rows['redis', 'peak_rss'] = (peak_kib(pid), 'KiB')
    return rows


def redis(work, library, options, quick):
    """Starts a server, measures it, and ends it, whatever happens."""
    port = free_port()
    argv = ['redis-server', '--bind', '127.0.0.1', '--port', str(port), '--save', '',
            '--appendonly', 'no', '--dir', work]
    with subprocess.Popen(argv, env=environment(library or LIBC, options), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for_port(port, server)
            rows = redis_rows(port, server.pid, 5000 if quick else 200000)
            server.terminate()
            if server.wait(END_S):
                raise Failed(f'redis-server ended with {server.returncode}')
        except subprocess.TimeoutExpired:
            raise Failed(f'redis-server does not end within {END_S} s') from None
        finally:
            if server.poll() is None:
                server.kill()
    return rows


# ---- all of them ---------------------------------------------------------------------------------

class Programs:
    def __init__(self, bench):
        self.bench, self.args = bench, bench.args

    def command(self, key, argv, extra, name):
        """The program's figures under one allocator; none if it failed."""
        options = self.bench.options_of(name)
        argv = [self.bench.program('command'), key, self.bench.allocators[name] or '-'] + argv
        done = self.bench.attempt(f'program.{key} under {name}', argv, None,
                                  extra=dict(extra, GCMALLOC=options))
        return figures(done[0]) if done else {}

    def redis(self, work, name):
        try:
            return redis(work, self.bench.allocators[name], self.bench.options_of(name),
                         self.args.quick)
        except (Failed, OSError) as why:
            self.bench.fail(f'program.redis under {name}', why)
            return {}

    def all(self):
        """{'row metric': {unit, values: {allocator: {run: value}}}}"""
        table = {}
        with tempfile.TemporaryDirectory(prefix='bench-') as work:
            chosen = [c for c in commands(work, self.args.quick)
                      if self.bench.wanted(f'program.{c[0]}')]
            with_redis = self.bench.wanted('program.redis')
            for turn in range(self.args.runs if chosen or with_redis else 0):
                self.bench.say(f'programs, run {turn + 1} of {self.args.runs}')
                for name in self.bench.order(turn) if with_redis else ():
                    self.bench.keep(table, name, turn, self.redis(work, name))
                for key, argv, extra in chosen:
                    for name in self.bench.order(turn):
                        self.bench.keep(table, name, turn, self.command(key, argv, extra, name))
        return table
