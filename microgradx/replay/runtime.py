"""The functions that generated source calls beside NumPy's."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

ROOT_HALF, ROOT_TAU = math.sqrt(0.5), math.sqrt(2.0 * math.pi)


def erfc(x: Any, out: Any = None) -> Any:
    """1 - erf(x), elementwise, into `out`; NumPy has none."""
    x = np.asarray(x)
    result = np.fromiter(map(math.erfc, x.ravel().tolist()), x.dtype, x.size).reshape(x.shape)
    return _into(out, result)


# Far out, `floats` has digits of what follows that arrays do without, for speed.


def normal_cdf(x: Any, out: Any = None) -> Any:
    """Φ(x), elementwise, into `out`."""
    return _into(out, 0.5 * erfc(-ROOT_HALF * np.asarray(x)))


def normal_pdf(x: Any, out: Any = None) -> Any:
    """φ(x), elementwise, into `out`."""
    return _into(out, np.exp(-0.5 * np.square(x)) / ROOT_TAU)


def exp_difference(x: Any, y: Any) -> Any:
    """eˣ⁻ʸ, elementwise."""
    return np.exp(x - y)


def sum_and_log(parts: Any) -> tuple[Any, Any]:
    """The sum of a list of arrays, and its logarithm, elementwise."""
    total = sum(parts)
    return total, np.log(total)


def _into(out: Any, result: Any) -> Any:
    if out is None:
        return result
    out[...] = result
    return out


# NumPy, and what it lacks.
ARRAYS = SimpleNamespace(**vars(np))
vars(ARRAYS).update(
    erfc=erfc, normal_cdf=normal_cdf, normal_pdf=normal_pdf, exp_difference=exp_difference,
    sum_and_log=sum_and_log,
)  # fmt: skip


def pull(pool: Any, plan: Any, out: Any) -> None:
    """For each row of `out`, the sum of the rows of `pool` that are its own, one after the other.

    plan: the rows to add first, second, and so on, for the rows of `out` with most of them first;
          and where those go, None if they are in place
    """
    passes, places = plan
    total = np.zeros_like(out) if places is not None else out
    total[...] = 0.0
    for k, rows in enumerate(passes):
        if k:
            total[: len(rows)] += pool[rows]
        else:
            np.take(pool, rows, axis=0, out=total[: len(rows)], mode="clip")
    if places is not None:
        out[places] = total
