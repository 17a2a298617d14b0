#!/usr/bin/python3
"""run_bdwgc.py --build DIR [--long] -- Debian's own programs for Boehm's collector, with our libgc.so.1.

w3m (a web browser) and guile (Scheme), as Debian has them, find the library of that name in DIR by
LD_LIBRARY_PATH, and run under libgcmalloc.so with each way to collect; what they print is what they
print with Debian's libgc. --long: more settings, and w3m is built from its source, unchanged, against
our gc.h.
"""

import argparse
import functools
import glob
import http.server
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

from harness import Tally, clean_env, run, signal_name

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EAGER = 'min_heap=0,confirm=1,probation=0'
GUILE = '/usr/lib/x86_64-linux-gnu/libguile-3.0.so.1'
SETTINGS = [('defaults', ''), ('uffd', f'{EAGER},stress=2000,barrier=uffd'),
            ('mprotect', f'{EAGER},stress=5000,barrier=mprotect'), ('full', f'{EAGER},stress=5000,barrier=full')]
LONG = [('often', f'{EAGER},stress=200'), ('shakedown', 'mode=shakedown,min_heap=0,stress=20000'),
        ('off', 'mode=off'), ('thrice', 'probation=0,min_heap=0,confirm=3,stress=1000')]
SCHEME = [('defaults', ''), ('uffd', f'{EAGER},stress=100000,barrier=uffd')]
SCHEME_LONG = [('mprotect', f'{EAGER},stress=100000,barrier=mprotect'), ('full', f'{EAGER},stress=200000,barrier=full'),
               ('off', 'mode=off')]


# ---- pages ----------------------------------------------------------------------------------------


def table(rows, columns, inner=''):
    cells = (f'<td>{row * column % 9973} <a href="p{row}.html">link {row}.{column}</a>{inner}</td>' for row in range(rows)
             for column in range(columns))
    return '<table border=1>' + ''.join('<tr>' + ''.join(next(cells) for _ in range(columns)) + '</tr>\n'
                                        for _ in range(rows)) + '</table>'


def write_pages(folder):
    words = 'the quick brown fox &amp; the &lt;lazy&gt; d&ouml;g &#8364;100 '
    pages = {
        'table': table(400, 6),
        'nested': table(12, 4, table(3, 2, table(2, 2))),
        'text': ''.join(f'<h2>{i}</h2><p>{words * 40}</p><pre>{words * 3}\n</pre>' for i in range(60)),
        'lists': ''.join(f'<ul><li>{i}<ol>' + '<li><b>x</b> <i>y</i>' * 20 + '</ol></ul><dl><dt>a<dd>b</dl>' for i in range(80)),
        'forms': ''.join(f'<form action=x><input name=a{i} value="{words}"><select><option>1<option selected>2'
                         f'</select><textarea rows=3>{words}</textarea></form>' for i in range(60)),
    }
    for name, body in pages.items():
        with open(os.path.join(folder, name + '.html'), 'w', encoding='utf-8') as page:
            page.write(f'<html><head><title>{name}</title></head><body>{body}</body></html>\n')
    return list(pages)


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def serve(folder):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Silent, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


# ---- running --------------------------------------------------------------------------------------


class Context:
    def __init__(self, build, scratch):
        self.shim = os.path.join(build, 'src', 'bdwgc')
        self.preload = os.path.join(build, 'preload', 'libgcmalloc.so')
        self.scratch = scratch
        self.home = os.path.join(scratch, 'home')
        self.plain_results = {}
        os.mkdir(self.home)

    def env(self, extra=None):
        return clean_env(dict({'HOME': self.home, 'GUILE_AUTO_COMPILE': '0'}, **(extra or {})))

    def plain(self, argv):
        key = tuple(argv)
        if key not in self.plain_results:
            self.plain_results[key] = run(argv, timeout=120, env=self.env(), cwd=self.scratch)
        return self.plain_results[key]

    def ours(self, argv, options):
        env = {'LD_PRELOAD': self.preload, 'LD_LIBRARY_PATH': self.shim, 'GCMALLOC': options}
        return run(argv, timeout=300, env=self.env(env), cwd=self.scratch)

    def difference(self, argv, options, like=None):
        plain = self.plain(like or argv)
        result = self.ours(argv, options)
        if result.timed_out or result.status != plain.status:
            return f'ended with {signal_name(result.status)}', result
        if result.out != plain.out or not plain.out:
            return f'prints {len(result.out)} bytes, plainly {len(plain.out)}', result
        err = [line for line in result.err_text.splitlines() if not line.startswith('libgcmalloc: shakedown')]
        return (None if '\n'.join(err) == plain.err_text.rstrip('\n') else 'standard error differs'), result


def judge(tally, name, wrong, result=None):
    if wrong:
        text = '' if result is None else (result.out_text[-500:] + result.err_text[-1500:] + result.traces)
        tally.fail(name, wrong, text)
    else:
        tally.ok(name, '' if result is None else f'{result.seconds:.1f} s')


def missing_names(context, binary):
    """What the binary asks of libgc, and ours does not have."""
    def names(path, *options):
        listed = subprocess.run(['nm', '-D', *options, path], stdout=subprocess.PIPE, text=True, check=True).stdout
        return {line.split()[-1].split('@')[0] for line in listed.splitlines() if re.search(r'\bGC_', line)}
    return sorted(names(binary, '--undefined-only') - names(os.path.join(context.shim, 'libgc.so.1'), '--defined-only'))


def pages_tests(tally, context, long):
    pages = os.path.join(context.scratch, 'pages')
    os.mkdir(pages)
    names = write_pages(pages)
    server = serve(pages)
    port = server.server_address[1]
    for setting, options in SETTINGS + (LONG if long else []):
        for page in names:
            wrong, result = context.difference(['w3m', '-dump', f'pages/{page}.html'], options)
            judge(tally, f'w3m_{page}_{setting}', wrong, result)
        url = f'http://127.0.0.1:{port}/'
        for kind, argv in [('http', ['-dump', url + 'nested.html']), ('head', ['-dump_source', url + 'table.html']),
                           ('folder', ['-dump', url])]:
            wrong, result = context.difference(['w3m'] + argv, options)
            judge(tally, f'w3m_{kind}_{setting}', wrong, result)
    server.shutdown()
    result = context.ours(['w3m', '-dump', 'pages/nested.html'], f'{EAGER},stress=500,report=stderr')
    judge(tally, 'w3m_reclaims', None if re.search(r'[1-9]\d* byte\(s\) in \d+ allocation\(s\) of these were reclaimed',
                                                   result.err_text) else 'nothing was reclaimed', result)


def scheme_tests(tally, context, long):
    argv = ['guile', os.path.join(ROOT, 'tests', 'bdwgc', 'weak.scm'), '40000' if long else '10000']
    for setting, options in SCHEME + (SCHEME_LONG if long else []):
        wrong, result = context.difference(argv, options)
        judge(tally, f'guile_{setting}', wrong, result)


# ---- from the source --------------------------------------------------------------------------------


def make_w3m(context):
    """The browser, or what went wrong. Debian's patches are left out: the original is enough."""
    work = os.path.join(context.scratch, 'source')
    done = subprocess.run([os.path.join(ROOT, 'scripts', 'source-package'), 'w3m', work, '--tar-only'], env=clean_env(),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    archives = glob.glob(os.path.join(work, 'source', 'w3m_*.orig.tar.*'))
    if not archives:
        return None, done.stdout
    subprocess.run(['tar', 'xf', archives[0], '-C', work], check=True)
    source = glob.glob(os.path.join(work, 'w3m-*'))[0]
    headers = os.path.join(ROOT, 'src', 'bdwgc')
    steps = [['./configure', '--disable-image', '--disable-mouse', '--disable-nls', '--with-ssl=no', 'CFLAGS=-O1 -w',
              f'CPPFLAGS=-I{headers}', f'LDFLAGS=-L{context.shim} -Wl,-rpath,{context.shim}'], ['make', 'w3m']]
    for step in steps:
        done = subprocess.run(step, cwd=source, env=clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            return None, done.stdout[-3000:]
    return os.path.join(source, 'w3m'), None


def source_tests(tally, context):
    program, wrong = make_w3m(context)
    if not program:
        tally.fail('w3m_source', 'cannot be built', wrong)
        return
    tally.ok('w3m_source')
    for page in ['table', 'nested', 'text', 'forms']:
        argv = ['-dump', f'pages/{page}.html']
        plain = run([program] + argv, timeout=120, env=context.env(), cwd=context.scratch)
        for setting, options in SETTINGS:
            result = context.ours([program] + argv, options)
            same = plain.out and result.out == plain.out and result.status == 0 and result.err == plain.err
            judge(tally, f'w3m_source_{page}_{setting}', None if same else 'the output is another one', result)


def main():
    parser = argparse.ArgumentParser(description='programs for Boehm\'s collector')
    parser.add_argument('--build', required=True)
    parser.add_argument('--long', action='store_true')
    args = parser.parse_args()
    tally = Tally('bdwgc')
    with tempfile.TemporaryDirectory(prefix='gcmalloc-bdwgc-') as scratch:
        context = Context(os.path.abspath(args.build), scratch)
        for name, binary in [('w3m', shutil.which('w3m')), ('guile', GUILE)]:
            missing = missing_names(context, binary)
            judge(tally, f'names_{name}', f'there is no {", ".join(missing)}' if missing else None)
        pages_tests(tally, context, args.long)
        scheme_tests(tally, context, args.long)
        if args.long:
            source_tests(tally, context)
    return tally.exit_status()


sys.exit(main())
