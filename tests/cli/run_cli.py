"""run_cli.py --build DIR -- tests of the gcmalloc command: profiles of real programs, and of none.

    --build DIR     build directory with the command and the library
    --only A,B      only tests whose name contains one of these

A test is a function that is given a Stage (stage.py) and raises AssertionError with what is wrong; a
string that it returns says why it could not be run here.
"""

import argparse
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

import cases_input  # noqa: E402
import cases_lsan  # noqa: E402
import cases_manual  # noqa: E402
import cases_report  # noqa: E402
import cases_run  # noqa: E402
from harness import Tally  # noqa: E402
from stage import Stage  # noqa: E402

CASES = [*cases_report.CASES, *cases_run.CASES, *cases_input.CASES, *cases_lsan.CASES,
         *cases_manual.CASES]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--build', required=True)
    parser.add_argument('--only', default='')
    arguments = parser.parse_args()
    tally = Tally('cli')
    with tempfile.TemporaryDirectory(prefix='gcmalloc-cli-') as directory:
        stage = Stage(arguments.build, directory)
        for case in CASES:
            if not any(part in case.__name__ for part in arguments.only.split(',')):
                continue
            try:
                tally.ok(case.__name__, case(stage) or '')
            except Exception as error:  # a test that breaks is a test that fails
                tally.fail(case.__name__, f'{type(error).__name__}: {str(error)[:2000]}')
    return tally.exit_status()


sys.exit(main())
