"""What is proved of the first layer: the ends of an affine z over a box of inputs, exact there.

An affine function of the inputs takes its largest value at a corner of the box. The bound is
rounded outward by more than its own sum can be off (Higham 2002, section 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from math import fsum
from typing import Any, NamedTuple

import numpy as np

from microgradx import rules
from microgradx._base import floats
from microgradx._base.arguments import number
from microgradx.engine import Value, sweep
from microgradx.explain.factors import factor_pairs, of_one, read_by, takes_one
from microgradx.replay.batch import Array, numbers
from microgradx.rules import Rule

CONSTANT, AFFINE, OTHER = range(3)  # how a node depends on the inputs
ULP = 2.0**-53


class Box(NamedTuple):
    """Lower and upper ends by input, in the shape of a row.

    words: what it is called in a sentence
    """

    low: Array
    high: Array
    words: str


class Top(NamedTuple):
    """The largest that z can be over a box.

    bound:  at least that
    corner: the inputs where it is reached, but for rounding
    error:  how far the bound may lie above it
    """

    bound: float
    corner: Array
    error: float


def box_of(box: Any, X: Array) -> Box:
    """The box that is meant: "data", the range of each column, or a pair (low, high).

    low, high: numbers, or arrays in the shape of a row. Something else is a TypeError; ends that
    aren't finite, of another shape or with low > high are a ValueError.
    """
    if isinstance(box, str) and box == "data":
        return Box(X.min(axis=0), X.max(axis=0), "within the data's range")
    if isinstance(box, str) or not isinstance(box, Sequence) or len(box) != 2:
        raise TypeError(f'a box is "data" or a pair (low, high), got {box!r:.60}')
    form, ends = X.shape[1:], []
    for name, end in zip(("low", "high"), box):
        array = numbers(f"the box's {name} end", end).astype(float)
        if array.shape not in ((), form):
            raise ValueError(f"the box's {name} end has the shape {array.shape}, a row {form}")
        if not np.isfinite(array).all():
            raise ValueError(f"the box's {name} end has a nan or an infinity; give finite numbers")
        ends.append(np.broadcast_to(array, form))
    low, high = ends
    if (low > high).any():
        place = tuple(int(k) for k in np.argwhere(low > high)[0])
        raise ValueError(
            f"the box is empty: at {list(place)} its low end {low[place]:g} is above its high end "
            f"{high[place]:g}; swap them"
        )
    simple = np.ndim(box[0]) == np.ndim(box[1]) == 0
    words = f"within {number(box[0]):g} … {number(box[1]):g}" if simple else "within the box"
    return Box(low, high, words)


def dependence(nodes: Sequence[Value], inputs: Sequence[Value]) -> dict[Value, int]:
    """How every node depends on the inputs; nodes come after those that they read."""
    found = dict.fromkeys(inputs, AFFINE)
    for node in nodes:
        if node.rule is not None and node not in found:
            found[node] = _of_node(node, found)
    return found


def _of_node(node: Value, found: Mapping[Value, int]) -> int:
    rule, kinds = node.rule, [found.get(x, CONSTANT) for x in read_by(node)]
    most = max(kinds, default=CONSTANT)
    if most != CONSTANT and rule is not None and rule.silent:
        return OTHER  # no slope tells of it
    if most != AFFINE or rule is None or rule.kind == "linear":
        return most
    if rule.kind == "product" and _one_factor_each(node, found):
        return AFFINE
    if rule is rules.div and found.get(node.inputs[-1], CONSTANT) == CONSTANT:
        return AFFINE
    return OTHER


def _one_factor_each(node: Value, found: Mapping[Value, int]) -> bool:
    """Whether no factor that depends on the inputs is multiplied with another."""
    return not any(_depends(x, found) and _depends(y, found) for x, y in factor_pairs(node))


def _depends(x: Any, found: Mapping[Value, int]) -> bool:
    return isinstance(x, Value) and found.get(x, CONSTANT) != CONSTANT


def top(z: Value, inputs: Sequence[Value], box: Box) -> Top:
    """The largest that an affine z can be over a box, from its slopes at the recorded numbers."""
    place = {x: k for k, x in enumerate(inputs)}
    slopes, sizes, count = np.zeros(len(inputs)), [abs(z.data)], 0
    for node, slope in sweep(z):
        if isinstance(slope, float):
            count += 1
            sizes.append(abs(slope * node.data))
            if node in place:
                slopes[place[node]] = slope
    low, high = box.low.ravel(), box.high.ravel()
    corner = np.where(slopes > 0, high, low)
    here = np.array([x.data for x in inputs])
    terms = slopes * (corner - here)
    sizes += np.abs(slopes * corner).tolist()
    error = 4.0 * (count + len(inputs) + 4) * ULP * fsum(sizes)
    return Top(fsum([z.data, *terms.tolist(), error]), corner.reshape(box.low.shape), 2.0 * error)


def reach(y: Value) -> tuple[float, float]:
    """The least and the largest that the op which made y can give, if it reads one number alone."""
    if y.rule is None or len(y.inputs) != 1 or y.rule.bounds is None or y.rule.kind == "linear":
        return -math.inf, math.inf
    return _ends(y.rule, lambda x: of_one(floats, y, x)[0])


def ends(rule: Rule) -> tuple[float, float]:
    """The least and the largest that an op can give; infinite where that isn't known."""
    if rule.bounds is None or not takes_one(rule) or rule.kind == "linear":
        return -math.inf, math.inf
    return _ends(rule, lambda x: rule.function(floats, x)[0])


def _ends(rule: Rule, f: Callable[[float], float]) -> tuple[float, float]:
    points = () if isinstance(rule.bounds, str) else rule.bounds or ()
    low, high = rule.domain.get(rule.operands[0], (-math.inf, math.inf))
    known = [x for x in map(f, (low, *points, high)) if x == x]
    return (min(known), max(known)) if known else (-math.inf, math.inf)
