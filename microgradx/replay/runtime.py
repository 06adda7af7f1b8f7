"""What generated source calls beside NumPy."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from microgradx._base import floats


def erfc(x: Any, out: Any = None) -> Any:
    """1 - erf(x), elementwise, into `out`; NumPy has none."""
    x = np.asarray(x)
    result = np.fromiter(map(math.erfc, x.ravel().tolist()), x.dtype, x.size).reshape(x.shape)
    return _into(out, result)


def normal_cdf(x: Any, out: Any = None) -> Any:
    """Φ(x), elementwise, into `out`."""
    return _into(out, floats.share_below(ARRAYS, np.asarray(x, float)))


def normal_pdf(x: Any, out: Any = None) -> Any:
    """φ(x), elementwise, into `out`."""
    return _into(out, floats.density_at(ARRAYS, np.asarray(x, float)))


def _into(out: Any, result: Any) -> Any:
    if out is None:
        return result
    out[...] = result
    return out


ARRAYS = SimpleNamespace(**{**vars(np), "erfc": erfc})  # NumPy, and what it lacks
vars(ARRAYS).update(normal_cdf=normal_cdf, normal_pdf=normal_pdf)


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
