"""The command line: `microgradx draw FILE[:NAME]` and `microgradx ops`."""

from __future__ import annotations

import argparse
import runpy
import sys
import traceback
from pathlib import Path

from microgradx import rules
from microgradx.draw import draw
from microgradx.engine import Value
from microgradx.render import RendererNotFound, RenderingFailed

DEFAULT_NAME = "loss"


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; 0 if it was done, 1 if the script failed, 2 if it can't be."""
    parser = argparse.ArgumentParser(prog="microgradx", description="Why a gradient is what it is.")
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("draw", help="run a script and draw the graph of a Value it made")
    drawing.add_argument(
        "target", metavar="FILE[:NAME]", help=f"the script, and the Value (default {DEFAULT_NAME})"
    )
    drawing.add_argument("-o", "--out", type=Path, help="the picture, .svg, .png or .dot")
    commands.add_parser("ops", help="list the ops there are")
    chosen = parser.parse_args(arguments)
    return _ops() if chosen.command == "ops" else _draw(chosen.target, chosen.out)


def _ops() -> int:
    for rule in rules.TABLE.values():
        operands = f"{rule.name}({', '.join(rule.operands)})"
        print(f"{operands:22} {rule.kind:10} {rule.__doc__}")
    return 0


def _draw(target: str, out: Path | None) -> int:
    file, _, name = target.partition(":")
    try:
        value = value_of(file, name or DEFAULT_NAME)
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    if value is None:
        return 1
    try:
        picture = draw(value)
        print(f"{picture.render(out or Path(file).with_suffix('.svg'))}: {picture.summary}")
    except (RendererNotFound, RenderingFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def value_of(file: str, name: str) -> Value | None:
    """The Value that the script leaves in `name`; None if it raised, its own traceback printed.

    A LookupError if there is no such file, or no Value of that name: it lists those there are.
    """
    if not Path(file).is_file():
        raise LookupError(f"there is no script {file}")
    try:
        left = runpy.run_path(file, run_name="__main__")
    except Exception as error:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename != file:
            trace = trace.tb_next  # past our own frames and runpy's
        traceback.print_exception(type(error), error, trace)
        return None
    values = [each for each, value in left.items() if isinstance(value, Value)]
    if name not in values:
        there = f"there are {', '.join(values)}" if values else "it leaves no Value at all"
        raise LookupError(f"{file} leaves no Value named {name}; {there}")
    found: Value = left[name]
    return found


if __name__ == "__main__":
    sys.exit(main())
