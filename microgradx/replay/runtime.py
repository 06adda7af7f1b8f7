"""The functions that generated source calls beside NumPy's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

ROOT_HALF, ROOT_TAU = math.sqrt(0.5), math.sqrt(2.0 * math.pi)


def erfc(x: Any, out: Any) -> None:
    """1 - erf(x), elementwise, into `out`; NumPy has none."""
    out[...] = np.fromiter(map(math.erfc, x.ravel().tolist()), float, x.size).reshape(x.shape)


# Far out, `floats` has digits of what follows that arrays do without, for speed.


def normal_cdf(x: Any, out: Any) -> None:
    """Φ(x), elementwise, into `out`."""
    erfc(-ROOT_HALF * x, out)
    out *= 0.5


def normal_pdf(x: Any, out: Any) -> None:
    """φ(x), elementwise, into `out`."""
    out[...] = np.exp(-0.5 * np.square(x)) / ROOT_TAU


def dot_where(a: Any, b: Any, came: Any, out: Any) -> None:
    """a · b into `out`, without the terms to whose b nothing came: there it is 0, and 0 · inf nan.

    came: for each of b whether something came
    """
    a.dot(b, out)
    if np.isnan(out).any():
        b, came, out = (x.reshape(len(x), -1) for x in (b, came, out))
        np.where(came.any(axis=1), a, 0.0).dot(b, out)
        for k in np.flatnonzero(np.isnan(out).any(axis=0)).tolist():
            some = came[:, k]
            out[:, k] = (a[:, some] * b[some, k]).sum(axis=1)


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
