"""`qviz doctor`: print facts about the installation for a bug report."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qviz.cli import options, output

if TYPE_CHECKING:
    from qviz.features.installation import Installation


def add(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Paste the output into a bug report; it contains no user name. Exit status 1: the self-test fails."
    options.add_output(parser, csv=False)


def run(args: argparse.Namespace) -> int:
    from qviz.top_level import doctor

    result = doctor()
    if args.json:
        output.print_json(result.to_json())
    else:
        _print(result)
    return int(not result.selftest.passed)


def _print(result: Installation) -> None:
    print(result, end="\n\n")
    output.print_table(["", "version"], list(result.versions.items()))
    print()
    output.print_table(["machine", ""], [[name, str(value)] for name, value in result.machine.items()])
    print()
    rows = [[part.name, _yes(part.available), part.purpose, part.install] for part in result.optional]
    output.print_table(["part", "installed", "for", "install with"], rows)
    print()
    checks = [[check.name, _yes(check.passed), check.detail] for check in result.selftest.checks]
    output.print_table(["self-test", "passed", ""], checks)
    print(f"\nlimits{f' of {result.limits_file}' if result.limits_file else ''}")
    output.print_table(["limit", "value"], [[name, str(value)] for name, value in result.limits.items()])


def _yes(value: bool) -> str:
    return "yes" if value else "no"
