"""The text of generated source: names, one call, the module of all calls."""

from __future__ import annotations

import keyword
import re
from textwrap import fill

from microgradx.replay.symbols import Symbol
from microgradx.replay.views import Shape

NUMPY_CALLS = {
    "add", "subtract", "multiply", "divide", "negative", "sqrt", "abs", "sign", "maximum",
    "minimum", "where", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
    "logical_and", "logical_not", "exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "arctan2",
    "power", "square", "take", "copyto",
}  # fmt: skip
OUR_CALLS = {"dot_where", "erfc", "normal_cdf", "normal_pdf", "pull"}
NUMBERS = {"0.0": "zero", "1.0": "one", "2.0": "two", "0.5": "half", "-1.0": "minus_one"}
TAKEN = {
    *NUMPY_CALLS, *OUR_CALLS, *NUMBERS.values(), "np", "inf", "nan", "scale", "prepare", "forward",
    "backward", "descend", "loss",
    "n", "p", "g", "v", "e", "constants", "dtype", "share", "shares", "whole", "bool",
}  # fmt: skip


def variable(name: str, others: set[str]) -> str:
    """A variable for an input called `name`, like no other name in the source.

    Names that the source makes up end in a digit, in T or in _ones; then, or if it is taken, or no
    name in Python at all, a _ is put behind.
    """
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not name[:1].isalpha():
        name = f"x{name}"
    while (
        name in TAKEN or name in others or keyword.iskeyword(name)
        or keyword.issoftkeyword(name) or name[-1].isdigit() or name.endswith(("T", "_ones"))
    ):  # fmt: skip
        name += "_"
    return name


def module(buffers: list[str], functions: dict[str, list[str]]) -> str:
    """The whole source, to be run once for each size of batch; n, p, g, constants, dtype are there.

    buffers:   the lines that make the arrays
    functions: by name, the lines of each
    """
    body = list(buffers)
    for name, lines in functions.items():
        body += ["", "", f"def {name}():", *["    " + line for line in lines or ["pass"]]]
    if "scale" in functions:
        body += ["", "", "scale()"]
    called = set(re.findall(r"\w+(?=\()", "\n".join(body)))
    ours = sorted(called & OUR_CALLS)
    imported = fill(
        ", ".join([*sorted(called & NUMPY_CALLS | {"copyto"}), "inf", "nan"]),
        98, initial_indent="from numpy import (", subsequent_indent="    ",
    )  # fmt: skip
    head = [
        "# A batch of n samples, a column each. p: the parameters; g: their gradient.",
        "# What a call computes goes into its last argument.",
        "import numpy as np",
        imported + ")",
        "",
    ]
    if ours:
        head += [f"from microgradx.replay.runtime import {', '.join(ours)}", ""]
    return "\n".join([*head, *body, ""])


# By op, the call that leaves the result in `out`; of the others it is the last argument.
STATEMENTS = {
    "copy": "copyto({out}, {0})",
    "float": "{out}[...] = {0}",
    "where": "{out}[...] = where({0}, {1}, {2})",
    "dot": "{0}.dot({1}, {out})",
    "reduce": "np.{extra[0]}.reduce({0}, axis={extra[1]}, out={out})",
    "take": 'take({0}, {extra}, axis=0, out={out}, mode="clip")',
    "pull": "pull({extra[0]}, {extra[1]}, {out})",
    "maximum": "maximum({0}, {1}, out={out})",  # slow with `out` by its position
    "minimum": "minimum({0}, {1}, out={out})",
}

# The same where the last argument is in `out` already, and the first is an array of truths.
OVER_ITSELF = {"where": "copyto({out}, {1}, where={0})"}


def statement(x: Symbol, args: list[str], target: str) -> str:
    """The call that leaves x in `target`, from the texts of its arguments."""
    if x.op in OVER_ITSELF and args[-1] == target and getattr(x.args[0], "truth", False):
        return OVER_ITSELF[x.op].format(*args, out=target)
    if x.op in STATEMENTS:
        return STATEMENTS[x.op].format(*args, out=target, extra=x.extra)
    name = x.op if x.op in NUMPY_CALLS or x.op in OUR_CALLS else f"np.{x.op}"
    return f"{name}({', '.join([*args, target])})"


def inside(shape: Shape) -> str:
    """A shape as the arguments of a reshape."""
    return ", ".join(map(str, shape)) or "()"


def shape_text(shape: Shape) -> str:
    """A shape as a tuple."""
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"


def comment(line: str, text: str) -> str:
    """A line with a comment, on one line whatever the text: labels are the user's."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f"{line}  # {clean}" if clean else line
