"""The command line: what can be drawn, stepped through and listed, of a reader's own script."""

from __future__ import annotations

import argparse
import io
import os
import runpy
import shutil
import sys
import traceback
import webbrowser
from pathlib import Path

from microgradx import __version__, rules
from microgradx._base.files import WrongSuffix
from microgradx._base.text import clean, count
from microgradx.engine import Value, with_cut_off
from microgradx.explain import why
from microgradx.pictures import RendererNotFound, RenderingFailed, draw
from microgradx.step.html import page
from microgradx.step.keys import commands
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
    except (NoValue, RendererNotFound, RenderingFailed, WrongSuffix, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="microgradx", description="Why a gradient is what it is.")
    parser.add_argument("--version", action="version", version=f"microgradx {__version__}")
    kinds = parser.add_subparsers(dest="command", required=True)
    for name, run, what, out in (
        ("draw", _draw, "run a script and draw the graph of a Value it made",
         "a .svg, .png or .dot file"),
        ("why", _why, "run a script and say why a gradient is what it is", "an .html file"),
        ("page", _page, "run a script and write a page that steps through its backpropagation",
         "an .html file"),
        ("step", _step, "run a script and step through its backpropagation in the terminal", ""),
    ):  # fmt: skip
        command = kinds.add_parser(name, help=what)
        command.set_defaults(run=run)
        command.add_argument("target", metavar="FILE[:NAME]", type=parsed,
                             help=f"the script and the Value, else {DEFAULT_NAME}")  # fmt: skip
        if name == "why":
            whose = "whose gradient: a Value's name in the script, or its label"
            command.add_argument("node", metavar="NODE", help=whose)
        if out:
            command.add_argument("-o", "--out", metavar="PATH", type=_file_name, help=out)
            command.add_argument("--open", action="store_true", help="open it in the browser")
    kinds.add_parser("ops", help="list the ops there are").set_defaults(run=_ops)
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
    print(clean(f"{path}: {picture.summary}"))
    _open(chosen, path)


def _why(chosen: argparse.Namespace) -> None:
    file, name = chosen.target
    values = values_of(file)
    output = _named(values, file, name)
    explanation = why(_node(values, file, output, chosen.node), output)
    print(explanation)
    if chosen.out:
        path = explanation.save(chosen.out)
        print(path)
        _open(chosen, path)
    elif chosen.open:
        explanation.show()


def _node(values: dict[str, Value], file: str, output: Value, name: str) -> Value:
    """The Value of that name in the script, else the one node of that label in the graph."""
    nodes = [x for x in with_cut_off(output) if x.label == name]
    if name in values or not nodes:
        return _named(values, file, name)
    if len(nodes) > 1:
        raise NoValue(f"{count(len(nodes), 'node')} are labelled {clean(name)}; give one a name")
    return nodes[0]


def _page(chosen: argparse.Namespace) -> None:
    path = page(value_of(*chosen.target)).save(
        chosen.out or Path(chosen.target[0]).with_suffix(".html")
    )
    print(path)
    _open(chosen, path)


def _open(chosen: argparse.Namespace, path: Path) -> None:
    """Show a file in the browser, if that was asked for."""
    if chosen.open and not webbrowser.open(path.resolve().as_uri()):
        print(clean(f"there is no browser to open {path} with"), file=sys.stderr)


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
    """Show a moment, do what is asked, show the next; until the reader quits.

    A key is a command by itself, but in a terminal that can't be cleared, where Enter ends a line.
    """
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
    with commands(single=smart) as command:
        while not stepper.over:
            columns, lines = _terminal()
            cleared = "\x1b[H\x1b[2J" if smart else "\n"
            print(cleared + screen(stepper, columns, lines, paint))
            stepper.ask(command())


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
    """The Value that the script leaves in `name`.

    ScriptFailed and NoValue as `values_of`; NoValue, with those there are, if it leaves none of
    that name.
    """
    return _named(values_of(file), file, name)


def _named(values: dict[str, Value], file: str, name: str) -> Value:
    if name not in values:
        there = f"there are {', '.join(values)}" if values else "it leaves no Value at all"
        raise NoValue(clean(f"{file} leaves no Value named {name}; {there}"))
    return values[name]


def values_of(file: str) -> dict[str, Value]:
    """The Values that the script leaves, by name, run as `python file` would run it.

    ScriptFailed if it raised, after its own traceback is printed; NoValue if there is no such file.
    """
    if not Path(file).is_file():
        raise NoValue(clean(f"there is no script {file}"))
    path, argv = sys.path[0], sys.argv
    sys.path[0], sys.argv = str(Path(file).resolve().parent), [file]
    try:
        left = runpy.run_path(file, run_name="__main__")
    except SystemExit as error:
        told = clean(f"{file} left by sys.exit({error.code}); let it run to its end")
        raise NoValue(told) from None
    except (Exception, KeyboardInterrupt) as error:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename != file:
            trace = trace.tb_next  # past our own frames and runpy's
        traceback.print_exception(type(error), error, trace)
        raise ScriptFailed from error
    finally:
        sys.path[0], sys.argv = path, argv
    return {each: value for each, value in left.items() if isinstance(value, Value)}


if __name__ == "__main__":
    sys.exit(main())
