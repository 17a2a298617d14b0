"""fuzz.py --build DIR -- runs the fuzzer for a bounded number of inputs, from the corpus in the tree.

    --build DIR     a build directory configured with -Dfuzz=true
    --runs N        inputs (60000)
    --seed N        libFuzzer's seed (the clock); a run is repeated by it
    --grow          take what covers something new into the tree's corpus: a fuzzed corpus is
                    merged down to the few files that cover as many edges

The corpus in the tree stays as it is otherwise: what is found goes to a scratch directory. An input
that fails is shown in hexadecimal: xxd -r -p makes a file of it, tests/fuzz/replay runs that.
"""

import argparse
import glob
import os
import re
import subprocess
import sys
import tempfile
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
sys.path.insert(0, os.path.join(TOP, 'tests'))

# pylint: disable=wrong-import-position
from harness import Tally, clean_env, run, signal_name

CORPUS = os.path.join(TOP, 'tests', 'fuzz', 'corpus')
# Longer inputs find no more, and take longer to read when they fail.
LONGEST = 400
# Of one input; they take milliseconds.
HANGS_S = 60
# The limit of the whole run: 200 inputs a second are slow.
LEAST_RATE = 50


def parse_arguments():
    parser = argparse.ArgumentParser(description='the fuzzer of operation sequences')
    parser.add_argument('--build', required=True)
    parser.add_argument('--runs', type=int, default=60000)
    parser.add_argument('--seed', type=int, default=int(time.time()) % 1000003 + 1)
    parser.add_argument('--grow', action='store_true')
    return parser.parse_args()


def failures(scratch):
    """What libFuzzer left of an input that failed."""
    for path in glob.glob(os.path.join(scratch, 'bad-*')):
        with open(path, 'rb') as file:
            yield f'{os.path.basename(path)}: {file.read().hex()}'


def grow(fuzzer, found, scratch):
    """The fewest files that cover what the tree's corpus and the new one cover, into the tree."""
    merged = os.path.join(scratch, 'merged')
    os.mkdir(merged)
    subprocess.run([fuzzer, '-set_cover_merge=1', '-use_counters=0', merged, CORPUS, found], env=clean_env(),
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    for path in glob.glob(os.path.join(CORPUS, '*')):
        os.unlink(path)
    for path in glob.glob(os.path.join(merged, '*')):
        name = os.path.basename(path)[:12]
        os.replace(path, os.path.join(CORPUS, name))


def main():
    args = parse_arguments()
    fuzzer = os.path.join(os.path.abspath(args.build), 'tests', 'fuzz', 'fuzz')
    tally = Tally('fuzz')
    with tempfile.TemporaryDirectory(prefix='gcmalloc-fuzz-') as scratch:
        found = os.path.join(scratch, 'found')
        os.mkdir(found)
        argv = [fuzzer, f'-runs={args.runs}', f'-seed={args.seed}', f'-max_len={LONGEST}', '-len_control=5',
                f'-timeout={HANGS_S}', f'-artifact_prefix={scratch}/bad-', '-print_final_stats=1',
                found, CORPUS]
        result = run(argv, timeout=300 + args.runs // LEAST_RATE, env=clean_env(), cwd=scratch)
        text = result.err_text + result.out_text
        covered = re.findall(r'cov: (\d+) ft: (\d+)', text)
        done = re.search(r'Done (\d+) runs', text)
        if result.timed_out or result.status != 0 or not done or not covered:
            lines = [f'-seed={args.seed} -runs={args.runs}', text[-4000:], *failures(scratch)]
            tally.fail('sequences', f'ended with {signal_name(result.status)}', '\n'.join(lines))
        else:
            tally.ok('sequences', f'seed {args.seed}, {done.group(1)} inputs, {covered[-1][0]} edges')
            if args.grow:
                grow(fuzzer, found, scratch)
    return tally.exit_status()


sys.exit(main())
