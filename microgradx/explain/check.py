"""A gradient check: what backward() says of a function, beside what the function itself does."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf, isfinite
from sys import float_info
from typing import Any

from microgradx._base.arguments import number
from microgradx._base.text import kind_of
from microgradx.engine import Value, sweep


class GradientMismatch(ArithmeticError):
    """backward() and finite differences disagree about a gradient, or one of them is not finite."""


def check_gradients(fn: Callable[..., Value], *values: Any, tolerance: float = 1e-6) -> float:
    """Compare the gradient of `fn` at `values` with differences; return the largest disagreement.

    fn takes as many fresh Values as there are `values` (numbers, or Values, whose data is taken)
    and returns one Value. Each value is moved on its own, then all at once in a random direction
    (the same one every time). The disagreement is relative, and at most `tolerance`; above it a
    GradientMismatch names the value. No Value that fn reaches from outside has its grad changed.

    >>> check_gradients(lambda x, y: (x * y).tanh() / y, 0.3, -2.0) < 1e-10
    True

    The formula is the five-point one, f′h ≈ (8(f(x+h) − f(x−h)) − (f(x+2h) − f(x−2h))) / 12,
    exact up to fourth powers (Abramowitz and Stegun 1964, 25.3.6). What may be mere rounding in
    it is judged by ε · Σ |data · grad| over the graph (Linnainmaa 1976).
    """
    if not values:
        raise TypeError("check_gradients needs the values to check fn at, got fn alone")
    if not number(tolerance) > 0:
        raise ValueError(f"tolerance is relative and above 0, got {tolerance!r}")
    xs = [x.data if isinstance(x, Value) else number(x) for x in values]
    labels = [x.label if isinstance(x, Value) else "" for x in values]
    grads, rounding = _backward(fn, xs, labels)
    directions = []
    for i, (label, grad) in enumerate(zip(labels, grads)):
        name = f"value {i} ({label!r})" if label else f"value {i}"
        if not isfinite(grad):
            raise GradientMismatch(f"{name}: backward gives {grad}, which is not finite")
        directions.append((name, [float(i == j) for j in range(len(xs))]))
    dice = random.Random(0)
    directions.append(("a random direction", [dice.uniform(-1.0, 1.0) for _ in xs]))

    def disagreement(name: str, direction: list[float]) -> float:
        least, facts = inf, "fn is not finite close to this point"
        for moves in _moves(xs, direction):
            observed = _growth(fn, xs, moves)
            size = max(map(abs, moves))
            if not isfinite(observed) or rounding > least * size / 100:
                continue  # too small a step, whose rounding would hide what a larger one has shown
            terms = [grad * move for grad, move in zip(grads, moves)]
            expected = sum(terms)
            error = abs(expected - observed)
            scale = max(sum(map(abs, terms)), abs(observed), rounding / tolerance)
            if error <= tolerance * scale:
                return error / scale if scale else 0.0
            if error / size < least:
                least = error / size
                facts = f"backward gives {expected / size:.10g}, differences {observed / size:.10g}"
        raise GradientMismatch(
            f"{name}: {facts}. Either the derivative of an op is wrong, or fn holds a detach, "
            "or it has a kink (relu, abs, maximum, …) close by: then try another point"
        )

    return max(disagreement(name, direction) for name, direction in directions)


def _backward(fn: Callable[..., Value], xs: list[float], labels: list[str]) -> tuple[Any, float]:
    """The gradient of fn at xs, and how far rounding alone may move fn's data."""
    leaves = [Value(x, label) for x, label in zip(xs, labels)]
    output = fn(*leaves)
    if not isinstance(output, Value):
        raise TypeError(f"fn must return one Value, got {kind_of(output)}: {output!r:.40}")
    if not isfinite(output.data):
        raise GradientMismatch(f"fn is {output.data} at this point, where no gradient is defined")
    grads = dict(sweep(output))
    rounding = sum(abs(4 * float_info.epsilon * x.data * grad) for x, grad in grads.items())
    return [grads.get(leaf, 0.0) for leaf in leaves], rounding


def _moves(xs: list[float], direction: list[float]) -> list[list[float]]:
    """Steps in `direction`, the larger first: by each value's size or 1, the larger or smaller."""
    sizes = ([max(abs(x), 1.0) for x in xs], [min(abs(x), 1.0) or 1.0 for x in xs])
    return [[h * s * d for s, d in zip(size, direction)] for size in sizes for h in (1e-3, 1e-6)]


def _growth(fn: Callable[..., Value], xs: list[float], moves: list[float]) -> float:
    """By how much fn grows over `moves`, to first order."""
    f = {n: fn(*[Value(x + n * move) for x, move in zip(xs, moves)]).data for n in (-2, -1, 1, 2)}
    return (f[1] - f[-1]) * 2 / 3 - (f[2] - f[-2]) / 12
