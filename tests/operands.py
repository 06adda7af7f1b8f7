"""Operands for any row of the table, and the array functions that a replay runs it with."""

from types import SimpleNamespace

import numpy as np

from microgradx.replay import runtime


def _with_result(call):
    """A function of generated source, which writes into its last argument, as one with a result."""

    def function(x):
        x = np.asarray(x)
        out = np.empty_like(x)
        call(x, out)
        return out[()]

    return function


def _sum_and_log(parts):
    total = sum(parts)
    return total, np.log(total)


# NumPy, and what it lacks.
ARRAYS = SimpleNamespace(**vars(np))
ARRAYS.exp_difference = lambda x, y: np.exp(x - y)
ARRAYS.sum_and_log = _sum_and_log
for name in ("erfc", "normal_cdf", "normal_pdf"):
    setattr(ARRAYS, name, _with_result(getattr(runtime, name)))


def arity(rule, width: int) -> int:
    """How many numbers a row reads, if its lists are so wide."""
    return sum(width if name in rule.lists else 1 for name in rule.operands)


def grouped(rule, flat, width: int) -> list:
    """Numbers or Values as the row takes them: so many to a list, one to a single operand."""
    flat = iter(flat)
    return [
        [next(flat) for _ in range(width)] if name in rule.lists else next(flat)
        for name in rule.operands
    ]
