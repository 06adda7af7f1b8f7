"""The command line: what can be drawn, stepped through and listed, of a reader's own script."""

from __future__ import annotations

import argparse
import io
import os
import runpy
import shutil
import sys
import traceback
from pathlib import Path

from microgradx import __version__, rules
from microgradx.engine import Value
from microgradx.pictures import RendererNotFound, RenderingFailed, draw
from microgradx.step.html import page
from microgradx.step.terminal import colour, plain, screen
from microgradx.step.walk import Stepper
from microgradx.step.words import sweep

DEFAULT_NAME = "loss"


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; 0 if it was done, 1 if the script failed, 2 if it can't be."""
    chosen = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has an ʸ
    try:
        chosen.run(chosen)
        sys.stdout.flush()
    except ScriptFailed:
        return 1
    except BrokenPipeError:  # nobody reads on, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (NoValue, RendererNotFound, RenderingFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="microgradx", description="Why a gradient is what it is.")
    parser.add_argument("--version", action="version", version=f"microgradx {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, what, out in (
        ("draw", _draw, "run a script and draw the graph of a Value it made",
         "a .svg, .png or .dot file"),
        ("page", _page, "run a script and write a page that steps through its backpropagation",
         "an .html file"),
        ("step", _step, "run a script and step through its backpropagation in the terminal", ""),
    ):  # fmt: skip
        command = commands.add_parser(name, help=what)
        command.set_defaults(run=run)
        command.add_argument("target", metavar="FILE[:NAME]", type=parsed,
                             help=f"the script and the Value, else {DEFAULT_NAME}")  # fmt: skip
        if out:
            command.add_argument("-o", "--out", metavar="PATH", type=_file_name, help=out)
    commands.add_parser("ops", help="list the ops there are").set_defaults(run=_ops)
    return parser


def _file_name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it takes the name of a file, got an empty one")
    return text


# --- the commands -------------------------------------------------------------------------------


def _ops(chosen: argparse.Namespace) -> None:
    for rule in rules.TABLE.values():
        operands = f"{rule.name}({', '.join(rule.operands)})"
        print(f"{operands:22} {rule.kind:10} {rule.__doc__}")


def _draw(chosen: argparse.Namespace) -> None:
    picture = draw(value_of(*chosen.target))
    path = picture.render(chosen.out or Path(chosen.target[0]).with_suffix(".svg"))
    print(f"{path}: {picture.summary}")


def _page(chosen: argparse.Namespace) -> None:
    whole = page(value_of(*chosen.target))
    print(whole.save(chosen.out or Path(chosen.target[0]).with_suffix(".html")))


def _step(chosen: argparse.Namespace) -> None:
    output = value_of(*chosen.target)
    try:
        if sys.stdin.isatty() and sys.stdout.isatty():
            _converse(Stepper(output))
        else:
            for line in sweep(output, _terminal()[0]):
                print(line)
    except (KeyboardInterrupt, EOFError):
        print()


def _terminal() -> tuple[int, int]:
    """The terminal's columns and lines; 80 by 24 where it has none (0, says Python 3.10)."""
    columns, lines = shutil.get_terminal_size()
    return columns or 80, lines or 24


def _converse(stepper: Stepper) -> None:
    """Show a moment, do what is asked, show the next; until the reader quits."""
    try:
        import readline  # noqa: F401 (history and editing for input(), where there is any)
    except ImportError:
        pass
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # whatever is typed, there is an answer
    smart = os.environ.get("TERM", "dumb") != "dumb"
    paint = colour if smart and not os.environ.get("NO_COLOR") else plain
    if smart:
        print("\n" * _terminal()[1])  # what the script said stays, further up
    while not stepper.over:
        columns, lines = _terminal()
        clear = "\x1b[H\x1b[2J" if smart else "\n"
        print(clear + screen(stepper, columns, lines, paint))
        stepper.ask(input("> "))


# --- the reader's script --------------------------------------------------------------------------


class ScriptFailed(Exception):
    """The reader's script raised; its traceback is printed already."""


class NoValue(LookupError):
    """There is no such script, or it leaves no such Value."""


def parsed(target: str) -> tuple[str, str]:
    """The file and the name of FILE[:NAME]; a path may have a colon of its own."""
    file, colon, name = target.rpartition(":")
    if not colon or not (name.isidentifier() or not name):
        return target, DEFAULT_NAME
    return file, name or DEFAULT_NAME


def value_of(file: str, name: str) -> Value:
    """The Value that the script leaves in `name`, run as `python file` would run it.

    ScriptFailed if it raised, after its own traceback is printed; NoValue if there is no such file
    or no Value of that name, which lists those there are.
    """
    if not Path(file).is_file():
        raise NoValue(f"there is no script {file}")
    path, argv = sys.path[0], sys.argv
    sys.path[0], sys.argv = str(Path(file).resolve().parent), [file]
    try:
        left = runpy.run_path(file, run_name="__main__")
    except SystemExit as error:
        raise NoValue(f"{file} left by sys.exit({error.code}); let it run to its end") from None
    except (Exception, KeyboardInterrupt) as error:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename != file:
            trace = trace.tb_next  # past our own frames and runpy's
        traceback.print_exception(type(error), error, trace)
        raise ScriptFailed from error
    finally:
        sys.path[0], sys.argv = path, argv
    values = {each: value for each, value in left.items() if isinstance(value, Value)}
    if name not in values:
        there = f"there are {', '.join(values)}" if values else "it leaves no Value at all"
        raise NoValue(f"{file} leaves no Value named {name}; {there}")
    return values[name]


if __name__ == "__main__":
    sys.exit(main())
