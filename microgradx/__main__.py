"""The command line: `microgradx draw FILE[:NAME]` and `microgradx ops`."""

from __future__ import annotations

import argparse
import io
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
    drawing.add_argument("-o", "--out", metavar="PICTURE", help="a .svg, .png or .dot file")
    commands.add_parser("ops", help="list the ops there are")
    chosen = parser.parse_args(arguments)
    if chosen.command == "ops":
        return _ops()
    if chosen.out == "":
        drawing.error("-o takes the name of a file, got an empty one")
    return _draw(chosen.target, chosen.out)


def _ops() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has an ʸ
    for rule in rules.TABLE.values():
        operands = f"{rule.name}({', '.join(rule.operands)})"
        print(f"{operands:22} {rule.kind:10} {rule.__doc__}")
    return 0


def _draw(target: str, out: str | None) -> int:
    file, colon, name = target.rpartition(":")
    if not colon or not (name.isidentifier() or not name):
        file, name = target, DEFAULT_NAME
    try:
        value = value_of(file, name or DEFAULT_NAME)
        picture = draw(value)
        path = picture.render(out or Path(file).with_suffix(".svg"))
    except ScriptFailed:
        return 1
    except (LookupError, RendererNotFound, RenderingFailed, OSError) as error:
        print(error.args[0] if isinstance(error, LookupError) else error, file=sys.stderr)
        return 2
    print(f"{path}: {picture.summary}")
    return 0


class ScriptFailed(Exception):
    """The reader's script raised; its traceback is printed already."""


def value_of(file: str, name: str) -> Value:
    """The Value that the script leaves in `name`, run as `python file` would run it.

    ScriptFailed if it raised, after its own traceback is printed; a LookupError if there is no
    such file or no Value of that name, which lists those there are.
    """
    if not Path(file).is_file():
        raise LookupError(f"there is no script {file}")
    path, argv = sys.path[0], sys.argv
    sys.path[0], sys.argv = str(Path(file).resolve().parent), [file]
    try:
        left = runpy.run_path(file, run_name="__main__")
    except SystemExit as error:
        raise LookupError(f"{file} left by sys.exit({error.code}); let it run to its end") from None
    except Exception as error:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename != file:
            trace = trace.tb_next  # past our own frames and runpy's
        traceback.print_exception(type(error), error, trace)
        raise ScriptFailed from error
    finally:
        sys.path[0], sys.argv = path, argv
    values = [each for each, value in left.items() if isinstance(value, Value)]
    if name not in values:
        there = f"there are {', '.join(values)}" if values else "it leaves no Value at all"
        raise LookupError(f"{file} leaves no Value named {name}; {there}")
    found: Value = left[name]
    return found


if __name__ == "__main__":
    sys.exit(main())
