"""The name of a node, and the place that its label gives it; how to write a number."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from os.path import basename
from typing import TYPE_CHECKING, TypeVar
from unicodedata import east_asian_width

from microgradx._base.source import variable

if TYPE_CHECKING:
    from microgradx.engine import Value

T = TypeVar("T")

Place = tuple[str, str]  # layer and neuron, each "" where a node has none

# `layers.0.weight[2,1]`, `layers.0.bias[2]`; `layers.0[2]`, `layers.0[2].z`, and at position 4 of a
# sample `layers.0[4,2]`
PLACE = re.compile(
    r"(?P<layer>.+?)"
    r"((\.weight|\.bias)\[(?P<row>\d+)(,\d+)*\]|\[(\d+,)*(?P<neuron>\d+)\](\.z)?)"
)
# `layers.0.weight`, `weight`, PyTorch's `rnn.weight_ih_l0` and `in_proj_bias`, and on a blackboard
# `w`, `w1`, `W_2`, `b`
PARAMETER = re.compile(r"(.+\.)?((\w+_)?(weight|bias)(_\w+)?|[wWbB])_?\d*")
# `layers.0.weight[2,1]`
ELEMENT = re.compile(r"(?P<path>.+?)(\[(?P<index>\d+(,\d+)*)\])?")


@lru_cache(maxsize=2**18)  # a net's labels are asked for again and again
def element(label: str) -> tuple[str, tuple[int, ...]]:
    """The tensor that a parameter's label names, and the place in it; "" for no label."""
    match = ELEMENT.fullmatch(label)
    if match is None:
        return "", ()
    return match["path"], tuple(map(int, match["index"].split(","))) if match["index"] else ()


@lru_cache(maxsize=100_000)
def place(label: str) -> Place:
    """The layer and the neuron that a label names."""
    match = PLACE.fullmatch(label) if label else None
    return (match["layer"], match["row"] or match["neuron"]) if match else ("", "")


def common_place(one: Place, other: Place) -> Place:
    """The innermost place that holds both."""
    if one[0] != other[0]:
        return ("", "")
    return one if one == other else (one[0], "")


def names_parameter(label: str) -> bool:
    """Whether a label is that of a weight or a bias, or of an element of it."""
    name, _, index = label.rpartition("[") if label.endswith("]") else (label, "", "")
    if index and not index[:-1].replace(",", "").isdigit():
        return False
    return _is_parameter(name)


@lru_cache(maxsize=100_000)
def _is_parameter(name: str) -> bool:
    return PARAMETER.fullmatch(name) is not None


def known_as(node: Value) -> str:
    """A node's label, else the variable that it was assigned to if its line was recorded."""
    return node.label or variable(node)


def name_of(node: Value) -> str:
    """A node's name in a sentence: its label or its variable's, else its op and its number."""
    if name := known_as(node):
        return clean(name)
    return f"{node.op}({node.data:.3g})" if node.rule else f"the leaf {node.data:.3g}"


def made_at(node: Value) -> str:
    """Where a node was made, in brackets, if that was recorded."""
    if node.line is None:
        return ""
    file, line = node.line
    return f" ({basename(file)}:{line})"


# --- numbers --------------------------------------------------------------------------------------


def short(x: float, digits: int = 3) -> str:
    """Three significant digits, or so many: 0.25, 1.5e-7; -0 is 0."""
    digits_, e, exponent = f"{x + 0.0:.{digits}g}".partition("e")
    return f"{digits_}e{int(exponent)}" if e else digits_


def apart(low: float, high: float) -> tuple[str, str]:
    """Two numbers with so many digits that they are told apart: 0.9391, 0.9392; 1,990, 2,020."""
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return short(low), short(high)
    for digits in range(3, 17):
        one, other = (_plain(x, digits) for x in (low, high))
        gap = abs(float(one.replace(",", "")) - float(other.replace(",", "")))
        if abs(gap / abs(high - low) - 1.0) < 0.1:
            return one, other
    return repr(low), repr(high)


def span(low: float, high: float) -> str:
    """`-3.06 … 3.32`; just the number where both are one."""
    return " … ".join(dict.fromkeys(apart(low, high)))


def _plain(x: float, digits: int) -> str:
    """Rounded to so many digits, without an exponent where it is from 0.001 to a million."""
    rounded = float(f"{x:.{digits}g}")
    if 1e3 <= abs(rounded) < 1e6:
        return f"{rounded:,.{max(digits - len(str(int(abs(rounded)))), 0)}f}"
    return short(x, digits)


def percent(share: float) -> str:
    """A share in per cent that says 0 or 100 only where it is so."""
    if share in (0.0, 1.0) or 0.005 <= share <= 0.995:
        return f"{100 * share:.0f} %"
    return "< 1 %" if share < 0.5 else "> 99 %"


def fixed(x: float, digits: int) -> str:
    """So many digits behind the point; what rounds to -0 is 0."""
    return f"{round(x, digits) + 0.0:.{digits}f}"


def term(x: float) -> str:
    """The same after a sign."""
    return f"({short(x)})" if short(x).startswith("-") else short(x)


def count(n: int, noun: str, plural: str = "") -> str:
    """A number of things: "1 edge", "2 edges"; `plural` where that is not the noun with an s."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def few(things: Sequence[T], most: int) -> tuple[Sequence[T], int]:
    """The first of some things, and how many more there are: never 1, which is shown instead."""
    shown = things if len(things) <= most + 1 else things[:most]
    return shown, len(things) - len(shown)


def listed(texts: Sequence[str], most: int) -> str:
    """Texts side by side, and how many more there are: "a, b and 2 more"."""
    shown, rest = few(texts, most)
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def repeated(text: str, n: int) -> str:
    """A text that stands for several things alike: "w ×0→ y (twice)"."""
    return text if n < 2 else f"{text} (twice)" if n == 2 else f"{text} ({n:,} times)"


def on_all(n: int) -> str:
    """Where something is so that is so on every sample: "on both samples"."""
    return {1: "on this sample", 2: "on both samples"}.get(n, f"on all {n:,} samples")


SPOKEN = ("a", "e", "i", "o", "nd")  # a word that begins so begins with a vowel


def kind_of(x: object) -> str:
    """The type of a thing, with its article: "a str", "an int", "an ndarray"."""
    name = type(x).__name__
    return f"{'an' if name.lower().startswith(SPOKEN) else 'a'} {name}"


# --- text -----------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """Text in one line, whose escape sequences and line ends are harmless."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def clip(text: str, width: int) -> str:
    """One line of text, cut off where there is no more room."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(1 + (east_asian_width(c) in "WF") for c in text)


def squeeze(text: str, room: int) -> str:
    """A text in so many columns: from too long a one, the middle is left out."""
    if width(text) <= room:
        return text
    tail = room // 3
    return f"{_start(text, room - 1 - tail)}…{_start(text[::-1], tail)[::-1]}"


def _start(text: str, room: int) -> str:
    ends = accumulate(map(width, text))
    return "".join(c for c, end in zip(text, ends) if end <= room)
