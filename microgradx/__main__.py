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
from typing import Any

from microgradx import __version__, rules
from microgradx._base.files import WrongSuffix
from microgradx._base.text import clean, count, listed
from microgradx.engine import Value, with_cut_off
from microgradx.explain import why
from microgradx.optim import SGD, Adam
from microgradx.pictures import RendererNotFound, RenderingFailed, draw
from microgradx.step.html import page
from microgradx.step.keys import commands
from microgradx.step.terminal import colour, plain, screen
from microgradx.step.walk import Stepper
from microgradx.step.words import sweep

DEFAULT_NAME = "loss"


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; 0 if it was done, 1 if the script failed, 2 if it can't be.

    A check-up is 1 if it has findings, and 2 if the script failed.
    """
    chosen = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has an ʸ
    try:
        found = chosen.run(chosen)
        sys.stdout.flush()
        return int(bool(found))
    except ScriptFailed:
        return 2 if chosen.command == "checkup" else 1
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
    _add_checkup(kinds)
    return parser


def _add_checkup(kinds: Any) -> None:
    command = kinds.add_parser(
        "checkup", help="say what is wrong with a net on its data, and what that costs",
        description="Say what is wrong with a net on its data. SOURCE is script.py:name, or a "
        ".npy, .csv, .npz or .safetensors file, with :name for one of its arrays or columns.",
        epilog="Exit code 0: nothing found; 1: findings; 2: it could not be done.",
    )  # fmt: skip
    command.set_defaults(run=_checkup)
    add = command.add_argument
    add("target_net", metavar="MODEL", help="script.py:name, or an .onnx file")
    add("--data", metavar="SOURCE", required=True, help="the rows, one a sample")
    add("--target", metavar="SOURCE", help="one class, number or row of numbers a sample")
    add("--loss", metavar="NAME", help="mse, cross_entropy, …; as a rule told from the targets")
    add("--rows", metavar="N", type=int, default=10_000, help="look at N rows at most")
    add("--box", metavar=("LOW", "HIGH"), type=float, nargs=2, help="prove deaths for these inputs")
    add("--try", dest="trying", action="store_true", help="try remedies on copies of the net")
    add("--optimizer", choices=("sgd", "adam"), help="whose step is looked at, and used by --try")
    add("--lr", metavar="X", type=float, help="its step size (0.1 for sgd, 0.001 for adam)")
    add("--epochs", metavar="N", type=int, default=3, help="of each trial")
    add("--batch", metavar="N", type=int, default=64, help="rows in a batch of a trial")
    add("--html", metavar="FILE", help="write the report, with pictures")
    add("--json", metavar="FILE", help="write the figures")
    add("--open", action="store_true", help="open the report in the browser")


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


def _checkup(chosen: argparse.Namespace) -> bool:
    from microgradx.diagnosis import checkup

    try:
        for path, kinds in (chosen.json, [".json"]), (chosen.html, [".html", ".htm", ""]):
            if path and Path(path).suffix.lower() not in kinds:
                raise ValueError(f"{path} is no {kinds[0]} file; give it that ending")
        model, X, y = _sources(chosen)
        found = checkup(
            model, X, y, loss=chosen.loss, optimizer=_optimizer(chosen), rows=chosen.rows,
            box=tuple(chosen.box) if chosen.box else "data",
        )  # fmt: skip
        print(found)
        if chosen.trying:
            print()
            print(found.try_remedies(epochs=chosen.epochs, batch_size=chosen.batch))
        for path in filter(None, (chosen.json, chosen.html)):
            path = found.save(path)
            print(path)
        if chosen.html:
            _open(chosen, path)
    except (TypeError, ValueError, IndexError, ImportError) as error:
        raise NoValue(clean(str(error))) from error
    return bool(found.findings)


def _sources(chosen: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The net, its rows and its targets; a script that several come from is run once."""
    from microgradx.interop.data import array_from, as_classes

    left: dict[str, dict[str, Any]] = {}

    def of(source: str, without: str = "") -> Any:
        file, name = _split(source)
        if Path(file).suffix.lower() != ".py":
            return array_from(file, name, without)
        if file not in left:
            left[file] = run(file)
        if name not in left[file]:
            there = [each for each in left[file] if not each.startswith("_")]
            names = f"there are {listed(there, 12)}" if there else "it leaves nothing"
            raise NoValue(clean(f"{file} leaves no {name or 'name: put :name behind it'}; {names}"))
        return left[file][name]

    net = chosen.target_net
    model = net if Path(net).suffix.lower() == ".onnx" else of(net)
    if chosen.target is None:
        return model, of(chosen.data), None
    same = _split(chosen.target)[0] == _split(chosen.data)[0]
    X, y = of(chosen.data, _split(chosen.target)[1] if same else ""), of(chosen.target)
    if isinstance(y, str) or not hasattr(y, "dtype") or hasattr(model, "classes_"):
        return model, X, y
    y, classes = as_classes(y)
    if classes:
        print(clean(f"classes: {listed([f'{k} {name}' for k, name in enumerate(classes)], 10)}"))
    return model, X, y


def _split(source: str) -> tuple[str, str]:
    """The file and the name of FILE[:NAME]; a path may have a colon of its own."""
    if Path(source).is_file():
        return source, ""
    file, colon, name = source.rpartition(":")
    return (file, name) if colon else (source, "")


def _optimizer(chosen: argparse.Namespace) -> Any:
    """A function that makes it of parameters; None if none was asked for."""
    if chosen.optimizer is None and chosen.lr is None:
        return None
    kind, lr = (Adam, 1e-3) if chosen.optimizer == "adam" else (SGD, 0.1)
    lr = lr if chosen.lr is None else chosen.lr
    return lambda parameters: kind(parameters, lr=lr)


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
    """The Values that the script leaves, by name; errors as for `run`."""
    return {each: value for each, value in run(file).items() if isinstance(value, Value)}


def run(file: str) -> dict[str, Any]:
    """All that the script leaves, by name, run as `python file` would run it.

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
    return left


if __name__ == "__main__":
    sys.exit(main())
