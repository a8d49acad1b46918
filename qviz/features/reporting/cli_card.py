"""qviz card: a model card from a saved study."""

from __future__ import annotations

import argparse
from pathlib import Path

from qviz.cli import options, output
from qviz.formatting import plural


def add(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "A study is written by: qviz report REF VARIANT... --dataset FILE --save-study STUDY -o PAGE.html"
    parser.add_argument("study", type=Path, metavar="STUDY", help="a file of qviz report --save-study")
    parser.add_argument(
        "-o", "--output", type=options.OutputPath, required=True, metavar="FILE.md", help="the card to write"
    )
    options.add_output(parser, csv=False)


def run(args: argparse.Namespace) -> int:
    from qviz.top_level import card

    output.check_writable(args.output)
    result = card(args.study)
    path = result.save(args.output)
    if args.json:
        output.print_json({"file": str(path), **result.to_json()})
    else:
        print(f"{path}: {plural(len(result.sections), 'section')}. {result}")
    return 0
