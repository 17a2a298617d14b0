"""heavy.py -- Emacs, a JVM, a browser, sshd, and the tests of Tcl and Perl themselves.

The last two come from scripts/fetch-core-tests; what passes without the library passes with it.
"""

import glob
import os
import re
import shutil
import signal

from harness import signal_name
from stage import Trouble, checksum, free_port

CORE_TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../third_party/core-tests')


def expect(name, result, status):
    """A program that stopped half-way would compare nothing."""
    if result.status != status:
        raise Trouble(f'{name}: {signal_name(result.status)}, not exit {status}',
                      result.out_text[-2000:] + result.err_text[-4000:])


# ---- Java -------------------------------------------------------------------------------------------


def java_run(stage, size, options):
    result = stage.program(['java', '-Xmx256m', *options, 'Work', str(size)], timeout=180)
    expect(f'java {" ".join(options)}', result, 3)
    stage.observe_result(f'java {" ".join(options)}', result)


def java(stage, size):
    """Compiles a program, and runs it compiled, interpreted and through jshell."""
    result = stage.program(['javac', '-d', '.', stage.input('Work.java')], timeout=120)
    expect('javac', result, 0)
    stage.observe_result('javac', result)
    stage.observe_files(*sorted(name for name in os.listdir(stage.work) if name.endswith('.class')))
    java_run(stage, size, [])
    text = b'int x = 3;\nx * 14\nString s = "a".repeat(5);\ns + x\n/exit\n'
    shell = stage.program(['jshell', '-s', '-'], stdin=text, timeout=120)
    expect('jshell', shell, 0)
    stage.observe('jshell stdout', shell.out)


def java_collectors(stage, size):
    """Each collector of HotSpot has its own ways with memory: ZGC maps its heap three times."""
    stage.tool(['javac', '-d', '.', stage.input('Work.java')])
    for options in ['-XX:+UseZGC', '-XX:+UseParallelGC', '-XX:+UseSerialGC', '-XX:+UseShenandoahGC',
                    '-Xint', '-XX:+UseLargePages']:
        java_run(stage, size, ['-Xlog:disable', options])


# ---- Emacs ------------------------------------------------------------------------------------------


def emacs(stage, size):
    """Compiles a script to byte code, and runs it compiled and as it is."""
    shutil.copy(stage.input('work.el'), stage.path('work.el'))
    with open(stage.path('many.el'), 'w', encoding='utf-8') as file:
        file.write(';;; -*- lexical-binding: t -*-\n(require \'cl-lib)\n(cl-defstruct pair a (b 3))\n')
        file.writelines(f'(defun f{i} (x &optional y) (pcase x (`(a ,z) (list z y)) ((pred stringp) '
                        f'(concat x y "{i}")) (_ (cl-loop for k to (pair-b x) collect '
                        f'(lambda (q) (+ q k {i}))))))\n' for i in range(300))
    compiled = stage.program(['emacs', '-Q', '--batch', '-f', 'batch-byte-compile', 'work.el', 'many.el'])
    expect('batch-byte-compile', compiled, 0)
    stage.observe_result('compile', compiled)
    stage.observe_files('work.elc', 'many.elc')
    for name in ['work.elc', 'work.el']:
        result = stage.program(['emacs', '-Q', '--batch', '-l', f'./{name}'], env={'SIZE': str(size)},
                               timeout=180)
        expect(name, result, 3)
        stage.observe(f'{name} stderr', re.sub(r'\(?[\d.]+ sec\)?|\([\d-]+ [\d:+]+,|\([\d-]+ [\d:+]+\)',
                                               '', result.err_text))


# ---- a browser --------------------------------------------------------------------------------------

PAGE = '''<!doctype html><html><body><canvas id=c width=200 height=200></canvas><div id=o></div><script>
let sum = 0, map = new Map(), c = document.getElementById('c').getContext('2d');
for (let i = 0; i < 200000; i++) sum = (sum * 31 + i) % 1000003;
for (let i = 0; i < 50000; i++) map.set('k' + i % 7919, [i]);
for (let i = 0; i < 100; i++) { c.fillStyle = `hsl(${3 * i},80%,50%)`; c.fillRect(i * 2, i, 20, 20); }
for (let i = 0; i < 1500; i++) {
    let p = document.createElement('p');
    p.textContent = 'row ' + i;
    document.body.appendChild(p);
    if (i % 3 == 0) p.remove();
}
document.getElementById('o').textContent = sum + ' ' + JSON.stringify([...map].slice(0, 3));
</script></body></html>
'''


def chromium(stage, size):
    """The text of a page and a picture of it. Without its sandbox: root may not have one."""
    with open(stage.path('page.html'), 'w', encoding='utf-8') as file:
        file.write(PAGE)
    options = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
               '--no-first-run', '--disable-background-networking', '--disable-component-update',
               '--disable-sync', f'--user-data-dir={stage.path("profile")}', '--window-size=400,400']
    for _ in range(size):
        for action in ['--dump-dom', f'--screenshot={stage.path("picture.png")}']:
            result = stage.program(['chromium', *options, action, f'file://{stage.path("page.html")}'],
                                   timeout=120)
            expect('chromium', result, 0)
            stage.observe(f'{action} stdout', result.out)
    stage.observe('picture', checksum(stage.path('picture.png')))


# ---- sshd -------------------------------------------------------------------------------------------

SSHD_CONFIG = '''
Port %(port)d
ListenAddress 127.0.0.1
HostKey %(work)s/host_key
AuthorizedKeysFile %(work)s/user_key.pub
StrictModes no
PidFile none
UsePAM no
PermitRootLogin yes
AcceptEnv LD_PRELOAD GCMALLOC
Subsystem sftp internal-sftp
'''


def sshd(stage, size):
    """Logins by key: the part that speaks before it is chrooted, has a user of its own and a seccomp
    filter. Client and shell run under the library too."""
    port, user = free_port(), stage.tool(['id', '-un']).out_text.strip()
    os.makedirs('/run/sshd', exist_ok=True)
    with open(stage.path('config'), 'w', encoding='utf-8') as config:
        config.write(SSHD_CONFIG % {'port': port, 'work': stage.work})
    for key in ['host_key', 'user_key', 'wrong_key']:
        stage.observe(key, stage.program(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', key]).out)
    common = ['-F', 'none', '-o', f'Port={port}', '-o', 'StrictHostKeyChecking=no', '-o',
              f'UserKnownHostsFile={stage.path("known")}', '-o', 'LogLevel=ERROR', '-o',
              'IdentitiesOnly=yes', '-o', 'BatchMode=yes', '-o', 'SendEnv=LD_PRELOAD GCMALLOC']
    right = [*common, '-i', 'user_key']
    with stage.server(['/usr/sbin/sshd', '-D', '-e', '-f', stage.path('config')],
                      ready='Server listening',
                      stop=lambda server: server.process.send_signal(signal.SIGTERM)):
        for command in ['true', 'exit 7', 'echo $((6 * 7)); id -u', 'head -c 300000 /dev/zero'] * size:
            result = stage.program(['ssh', *right, f'{user}@127.0.0.1', command])
            stage.observe_result(command, result)
        result = stage.program(['ssh', *right, f'{user}@127.0.0.1', 'md5sum'], stdin=b'z' * 2000000)
        stage.observe_result('to md5sum', result)
        result = stage.program(['ssh', *common, '-i', 'wrong_key', f'{user}@127.0.0.1', 'true'])
        stage.observe('wrong key', signal_name(result.status))
        result = stage.program(['scp', *right, f'{user}@127.0.0.1:{stage.path("config")}', 'copied'])
        stage.observe_result('scp', result)
        if checksum(stage.path('copied')) != checksum(stage.path('config')):
            raise Trouble('scp has copied something else')


# ---- the tests of Tcl and Perl ----------------------------------------------------------------------


def core_tests(name):
    folder = os.path.join(CORE_TESTS, name)
    if not os.path.isdir(folder):
        raise Trouble('the core tests are not there', 'scripts/setup --long fetches them')
    return folder


# All that takes less than a second, and some that wait. Those of http ask the network.
TCL_FILES = ('append*.test apply.test assocd.test b*.test chan.test clock.test cmdIL.test cmdMZ.test '
             'compile.test coroutine.test d*.test en*.test e[rv]*.test exec.test ex[ep]r*.test f*.test '
             'get.test i*.test l*.test mathop.test n*.test o*.test p*.test result.test s[cetpuw]*.test '
             't[ai]*.test trace.test u*.test var.test while.test zlib.test')
TCL_NOT = 'io.test safe*.test thread.test interp.test timer.test'


def tcl_core(stage, size):
    shutil.copytree(os.path.join(core_tests('tcl'), 'tests'), stage.path('tests'))
    result = stage.program(['tclsh', 'tests/all.tcl', '-file', TCL_FILES, '-notfile', TCL_NOT], timeout=400)
    expect('all.tcl', result, 0)
    total = re.search(r'Total\s+(\d+)\s+Passed\s+(\d+)\s+Skipped\s+(\d+)\s+Failed\s+(\d+)', result.out_text)
    if not total or int(total.group(1)) < 10000 or int(total.group(4)) != 0:
        raise Trouble('Tcl fails its own tests', result.out_text[-6000:])
    # One test limits the address space of a process that runs; it is skipped if that has no effect.
    stage.observe('total', f'{total.group(1)} {total.group(4)}')
    stage.note(f'{total.group(2)} tests')


PERL_FILES = ['base/*.t', 'cmd/*.t', 'comp/*.t', 'io/*.t', 'lib/*.t', 'mro/*.t', 'op/*.t', 're/pat.t',
              're/pat_[ar]*.t', 're/qr*.t', 're/reg_*.t', 're/subst*.t']
# They take long, or have something to do with the terminal, the time or the kernel's random numbers.
PERL_NOT = re.compile(r'/(alarm|sigdispatch|fork|pipe|through|crlf_through|sselect|stat|sleep|time_loop|'
                      r'.*_thr|threads|goto_xs|setpgrpstack|time|rand|srand|getpid|magic|taint|croak|'
                      r'dump|svleak|kill0|eintr.*|errnosig|closepid)\.t$')


def perl_tests(folder):
    names = [os.path.relpath(path, f'{folder}/t') for pattern in PERL_FILES
             for path in sorted(glob.glob(f'{folder}/t/{pattern}'))]
    return [name for name in names if not PERL_NOT.search(name)]


def perl_core(stage, size):
    """Each file by itself, as t/TEST does; the verdicts are compared."""
    folder = core_tests('perl')
    names = perl_tests(folder)
    shutil.copytree(f'{folder}/t', stage.path('t'), symlinks=True)
    os.symlink(f'{folder}/lib', stage.path('lib'))
    os.symlink(shutil.which('perl'), stage.path('t', 'perl'))
    passed = 0
    for name in names:
        with open(stage.path('t', name), encoding='latin-1') as file:
            switches = re.findall(r'\s(-\w*[tTw]\w*)', file.readline())
        result = stage.program(['env', '-C', 't', './perl', '-I../lib', *switches, name],
                               env={'PERL_CORE': '1', 'PERL5LIB': '../lib'}, timeout=200)
        verdicts = re.findall(r'^(?:not )?ok\b(?: \d+)?', result.out.decode('latin-1'), re.M)
        stage.observe(name, signal_name(result.status) + '\n' + '\n'.join(verdicts))
        passed += sum(verdict.startswith('ok') for verdict in verdicts)
    if passed < 50000:
        raise Trouble(f'{passed} tests of {len(names)} files have passed')
    stage.note(f'{passed} tests')
