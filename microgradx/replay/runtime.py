"""What generated source calls beside NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def erfc(x: Any, out: Any = None) -> Any:
    """1 - erf(x), elementwise, into `out`; NumPy has none."""
    x = np.asarray(x)
    result = np.fromiter(map(math.erfc, x.ravel().tolist()), x.dtype, x.size).reshape(x.shape)
    if out is None:
        return result
    out[...] = result
    return out


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
