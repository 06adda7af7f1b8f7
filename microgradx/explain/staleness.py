"""Whether a `.grad` is the gradient that a sweep would give now, or what else it may be."""

from __future__ import annotations

from math import isfinite

from microgradx.explain.extended import times
from microgradx.explain.paths import NodeFlow

STALE = 1e-9  # relative difference from which .grad is not the gradient
TINY = 1e-290  # below it, a seed may have lifted what underflows without

Finding = tuple[str, str, str]  # verdict, cause, and in a sentence

NOT_RUN = "not run", "no backward()", "There was no backward(), or every grad was zeroed since"


def staleness(grad: float, row: NodeFlow, seed: float) -> Finding | None:
    """What is wrong with a grad after a sweep with this seed; None if it is what it should be."""
    expected = row.g * seed if abs(row.g) >= TINY else float(times(seed, *row.wide))
    if _same(grad, expected, row.error * abs(seed)):
        return None
    k = _multiple(grad, expected)
    if k:
        times_over = "once" if k == 2 else f"{k - 1} times"
        said = f".grad is {grad:.3g}, {k} × this: zero_grad() was forgotten {times_over}"
        return "stale", f"{k} × the gradient", said
    if not grad:
        return "stale", "zeroed", ".grad is 0: it was zeroed after the last backward()"
    said = "it is another output's, or holds several sweeps, as it does without zero_grad()"
    return "stale", "not this gradient", f".grad is {grad:.3g}: {said}"


def _same(grad: float, expected: float, error: float) -> bool:
    """Whether a grad is what it should be, but for rounding."""
    if isfinite(grad) and isfinite(expected):
        return abs(grad - expected) <= STALE * abs(expected) + error
    return grad == expected or (grad != grad and expected != expected)


def _multiple(grad: float, expected: float) -> int:
    """How many times too often the gradient is in .grad; 0 if it is no whole number."""
    ratio = grad / expected if expected and isfinite(grad) and isfinite(expected) else 0.0
    k = round(ratio) if isfinite(ratio) else 0
    return k if k >= 2 and abs(ratio - k) <= STALE * k else 0
