"""run_unit.py BUILD_DIR -- runs meson's tests and prints them in the common form.

meson writes one JSON object per test; the output of a failing one is shown.
"""

import json
import os
import subprocess
import sys

from harness import Tally, clean_env


def main():
    build = sys.argv[1]
    tally = Tally('unit' if build == 'build-debug' else 'unit-release')
    log = os.path.join(build, 'meson-logs', 'testlog.json')
    if os.path.exists(log):
        os.unlink(log)
    done = subprocess.run(['meson', 'test', '--no-rebuild', '-C', build],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=clean_env(), check=False)
    if not os.path.exists(log):
        tally.fail('meson', f'meson test ended with {done.returncode} and no log',
                   done.stdout.decode('utf-8', 'replace'))
        return 1
    with open(log, encoding='utf-8') as lines:
        for line in lines:
            test = json.loads(line)
            name = test['name'].replace('libgcmalloc:', '').split(' / ')[-1]
            if test['result'] in ('OK', 'EXPECTEDFAIL'):
                tally.ok(name, f'{test["duration"]:.1f} s')
            else:
                output = test.get('stdout', '') + test.get('stderr', '')
                tally.fail(name, test['result'], output[-8000:])
    return tally.exit_status()


sys.exit(main())
