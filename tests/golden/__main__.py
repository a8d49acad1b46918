"""`python -m tests.golden --against REV`: compare all numbers with those of a commit; exit status 1 if one differs."""

from __future__ import annotations

import argparse
import sys

from tests.golden.checkout import SHARED, Side, side_of_commit, side_of_work_tree
from tests.golden.compare import Tally, compare
from tests.golden.earlier import new_recording
from tests.golden.record import recorded
from tests.golden.show import show
from tests.golden.table import PARTS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("--against", required=True, metavar="REV", help="the commit whose numbers are right")
    parser.add_argument("--new-rev", metavar="REV", help="compare this commit instead of the work tree")
    parser.add_argument("--only", default=",".join(PARTS), metavar="LIST", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="the most telling calls alone")
    parser.add_argument("--fresh", action="store_true", help="run the commits anew, whatever was recorded earlier")
    parser.add_argument("--again", action="store_true", help="compare what the new side gave last, without running it")
    parser.add_argument("--strict", action="store_true", help="a sentence with other numbers is a difference, too")
    return parser


def _parts(text: str) -> list[str]:
    """The names of the parts to run. Raises SystemExit for an unknown name."""
    parts = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in parts if word not in PARTS]
    if unknown or not parts:
        raise SystemExit(f"--only is {text!r}; give some of {', '.join(PARTS)}.")
    if "models" in parts and not (SHARED / "models").is_dir():
        print(f"models: skipped, there is no folder {SHARED.name}/models beside the checkout")
        parts.remove("models")
    return parts


def _print_side(side: Side) -> None:
    print(f"{side.name}: {side.commit or 'the work tree'} with {side.python}", flush=True)


def main() -> int:
    args = _parser().parse_args()
    parts = _parts(args.only)
    base = side_of_commit("base", args.against)
    new = side_of_commit("new", args.new_rev) if args.new_rev else side_of_work_tree()
    _print_side(base)
    _print_side(new)
    tallies = {}
    for part in parts:
        first = recorded(base, part, args.quick, args.fresh)
        second = new_recording(new, part, args.quick, args.fresh, args.again)
        tallies[part] = compare(part, first, second, Tally())
    return show(tallies, args.strict)


if __name__ == "__main__":
    sys.exit(main())
