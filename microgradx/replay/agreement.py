"""A replay is handed out only if it agrees with the scalar graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from microgradx.engine import Value, sweep
from microgradx.replay.arrays import Array


class Disagreement(RuntimeError):
    """A replay computes something else than the graph that it was made of."""


def check_values(
    samples: Sequence[Sequence[Value]], arrays: Sequence[Array], results: Mapping[str, Any]
) -> None:
    """Compare every node that has an array with its data; the first that differs is named.

    samples: for each sample of the batch its graph, the nodes by id
    results:   the arrays as the batch left them
    """
    wrong: list[tuple[int, float, Value]] = []
    largest = 0.0  # of what was computed so far, and may have cancelled
    for array in arrays:
        ids = [i for i in array.ids.ravel().tolist() if i < len(samples[0])]
        numbers = np.asarray(results[array.name])
        got = numbers.reshape(array.ids.size, -1)[: len(ids)]
        for k, nodes in enumerate(samples):
            mine = got[:, min(k, got.shape[1] - 1)]
            data = np.array([nodes[i].data for i in ids]).astype(got.dtype)
            if not _close(mine, data).all():
                far = np.flatnonzero(~_close(mine, data, largest)).tolist()
                wrong += [(ids[j], float(mine[j]), nodes[ids[j]]) for j in far]
            largest = max(largest, np.abs(data)[np.isfinite(data)].max(initial=0.0))
    if wrong:
        _, number, node = min(wrong, key=lambda one: one[0])
        if got.dtype == np.float32 and not np.isfinite(number):
            raise ValueError(f"what leads to {node!r} is beyond float32; record with dtype=float")
        raise Disagreement(f"the replay computes {number!r} for {node!r}; please report this")


def check_gradient(
    samples: Sequence[Sequence[Value]], output: int, count: int, gradient: Any
) -> None:
    """Compare the gradient with that of sweeps, which leave every grad as it was.

    count: of parameters, which all samples share; the gradient is in their order
    """
    sweeps = [_adjoints(nodes, output, count) for nodes in samples]
    eager = np.mean(sweeps, axis=0).astype(gradient.dtype)
    if _close(gradient, eager).all():
        return
    adjoints = np.abs([x for nodes in samples for x in _adjoints(nodes, output, len(nodes))])
    largest = adjoints[np.isfinite(adjoints)].max(initial=0.0)  # what may have cancelled
    wrong = np.flatnonzero(~_close(gradient, eager, largest))
    if wrong.size:
        k = int(wrong[0])
        raise Disagreement(
            f"the replay's gradient of {samples[0][k]!r} is {float(gradient[k])!r}, the graph's "
            f"{float(eager[k])!r}; please report this"
        )


def _adjoints(nodes: Sequence[Value], output: int, count: int) -> list[float]:
    """∂output/∂node for the first `count` nodes."""
    adjoints = dict(sweep(nodes[output]))
    return [adjoints.get(node, 0.0) for node in nodes[:count]]


def _close(one: Any, other: Any, size: float = 0.0) -> Any:
    """Whether numbers are the same but for rounding, or both nan.

    size: of what they were computed from, if that is larger than they are
    """
    if (one == other).all():
        return np.ones(one.shape, bool)
    with np.errstate(all="ignore"):
        size = max(size, np.abs(other)[np.isfinite(other)].max(initial=0.0))
        allowed = np.sqrt(np.finfo(one.dtype).eps) * size
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        return same | (np.abs(one - other) <= allowed)
