"""A replay is handed out only if it agrees with the scalar graph, at the recorded point and beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from microgradx.engine import Value
from microgradx.replay.arrays import Array


class Disagreement(RuntimeError):
    """A replay computes something else than the graph that it was made of."""


def check_values(
    samples: Sequence[Sequence[Value]], arrays: Sequence[Array], found: Mapping[str, Any]
) -> None:
    """Compare every node that has an array with its data; the first that differs is named.

    samples: for each sample of the batch its graph, the nodes by id
    found:   the arrays as the batch left them
    """
    wrong: list[tuple[int, float, Value]] = []
    for array in arrays:
        ids = [i for i in array.ids.ravel().tolist() if i < len(samples[0])]
        numbers = np.asarray(found[array.name])
        got = numbers.reshape(array.ids.size, -1)[: len(ids)]
        for k, nodes in enumerate(samples):
            mine = got[:, min(k, got.shape[1] - 1)]
            data = np.array([nodes[i].data for i in ids]).astype(got.dtype)
            wrong += [
                (ids[j], float(mine[j]), nodes[ids[j]])
                for j in np.flatnonzero(~_close(mine, data)).tolist()
            ]
    if wrong:
        _, number, node = min(wrong, key=lambda found: found[0])
        raise Disagreement(f"the replay computes {number!r} for {node!r}; please report this")


def check_gradient(
    samples: Sequence[Sequence[Value]], output: int, count: int, gradient: Any
) -> None:
    """Compare the gradient with that of sweeps, which leave every grad as it was.

    count: of parameters, which all samples share; the gradient is in their order
    """
    total = np.zeros(count)
    for nodes in samples:
        before = [node.grad for node in nodes]
        try:
            for p in nodes[:count]:
                p.grad = 0.0
            nodes[output].backward()
            total += [p.grad for p in nodes[:count]]
        finally:
            for node, grad in zip(nodes, before):
                node.grad = grad
    eager = (total / len(samples)).astype(gradient.dtype)
    wrong = np.flatnonzero(~_close(gradient, eager))
    if wrong.size:
        k = int(wrong[0])
        raise Disagreement(
            f"the replay's gradient of {samples[0][k]!r} is {float(gradient[k])!r}, the graph's "
            f"{float(eager[k])!r}; please report this"
        )


def _close(one: Any, other: Any) -> Any:
    """Whether numbers are the same but for rounding, or both nan; beside the largest of them."""
    if (one == other).all():
        return np.ones(one.shape, bool)
    with np.errstate(all="ignore"):
        sizes = np.abs(other)[np.isfinite(other)]
        allowed = np.sqrt(np.finfo(one.dtype).eps) * (sizes.max() if sizes.size else 0.0)
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        return same | (np.abs(one - other) <= allowed)
