"""The graph that is trained beside the function itself: the same loss and gradient, or an error.

A recording can't see everything that a model or a loss branches on: a parameter's own `.data`, for
instance, or `isinstance(target, float)`. So the function is run as it is, on single samples, before
the first epochs and now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from microgradx.engine import Value
from microgradx.replay import FrozenBranch, Replay
from microgradx.replay.agreement import swept
from microgradx.replay.tape import computed

Answer = tuple[float, Any]  # a loss, and its gradient

SAMPLES = 20_000  # that are trained between two looks: the share of the looks in the time is small
STRIDE = 7919  # from one sample that is looked at to the next: a prime
FIRST, WORK = 4, 20_000  # so many samples in the first look, or parameters in all of them
ALLOWED = 1e-6  # of the sizes that the loss and its gradient are sums of

OTHER_WAY = (
    "The model or the loss takes another way than when it was recorded: it branches on a "
    "parameter's .data or on isinstance, or holds a number worked out beside the graph. Write a "
    "branch with where"
)
NO_REPEAT = (
    "The model or the loss draws random numbers, counts its calls or keeps something from one to "
    "the next; a replay repeats what was recorded. Train such a model by steps of your own"
)


class Eager:
    """The function that was recorded, to be run as it is.

    fn: the loss of (sample, target)
    """

    def __init__(self, fn: Callable[[Any, Any], Value], replay: Replay, X: Any, y: Any) -> None:
        self.fn, self.replay, self.X, self.y = fn, replay, X, y
        self.looks = self.epochs = self.since = 0

    def due(self, seen: int) -> bool:
        """Whether to look, `seen` samples later: before epochs 1, 2, 4, 8, …, or after many."""
        self.epochs, self.since = self.epochs + 1, self.since + seen
        return self.epochs & (self.epochs - 1) == 0 or self.since >= SAMPLES

    def look(self, when: str) -> None:
        """Compare a sample, or several of them before the first epoch.

        The parameters must have the numbers of the replay.
        """
        several = max(1, min(FIRST, len(self.X), WORK // max(1, len(self.replay.parameters))))
        for _ in range(1 if self.looks else several):
            k = self.looks * STRIDE % len(self.X)
            self.looks, self.since = self.looks + 1, 0
            x, y = self.X[k], self.y[k]
            own = self._own(x, y)
            if not (
                self._difference(own, self._by_arrays(x, y))  # quick, but they round in other ways
                and (difference := self._difference(own, self._by_scalars(x, y)))
            ):
                continue
            where = f"{when}, near sample {k}, "
            if _other(own, again := self._own(x, y)):
                raise FrozenBranch(
                    f"{where}the loss is {own[0]:.6g}, and asked again {again[0]:.6g}. {NO_REPEAT}"
                )
            aside = x * (1.0 + 2.0**-12) + 2.0**-14  # at a kink, rounding may take either way
            if difference := self._difference(self._own(aside, y), self._by_scalars(aside, y)):
                raise FrozenBranch(f"{where}{difference}. {OTHER_WAY}")

    def _difference(self, answer: Answer, recorded: Answer) -> str:
        """How the loss of a sample, or its gradient, differs from the recorded one; "" if not."""
        (own, own_gradient), (loss, gradient) = answer, recorded
        with np.errstate(all="ignore"):
            terms = np.abs(np.append(own_gradient * self.replay.data, own))
            allowed = _finite(terms * ALLOWED).sum()  # so the sum does not overflow
            if _apart(loss, own, allowed):
                return f"the loss is {own:.6g}, and {loss:.6g} as it was recorded"
            allowed += ALLOWED * _finite(np.abs(own_gradient)).max(initial=0.0)
            if (apart := _apart(gradient, own_gradient, allowed)).any():
                k = int(apart.argmax())
                own, was = own_gradient[k], gradient[k]
                return f"the gradient is not the recorded one: {own:.6g}, where that is {was:.6g}"
        return ""

    def _by_arrays(self, x: Any, y: Any) -> Answer:
        """What the replay gives; its gradient stays that of the latest batch."""
        latest = self.replay.gradient.copy()
        try:
            with np.errstate(all="ignore"):
                self.replay.load(x[None], y[None])
                return float(self.replay.run()), self.replay.gradient.copy()
        finally:
            self.replay.gradient[:] = latest

    def _by_scalars(self, x: Any, y: Any) -> Answer:
        return self._answer(self.replay.played(x, y))

    def _answer(self, loss: Value) -> Answer:
        return loss.data, np.array(swept(loss, computed(loss), self.replay.parameters))

    def _own(self, x: Any, y: Any) -> Answer:
        """What the function gives, for plain numbers, or Values where its target must be these."""
        try:
            loss = self.fn(x.tolist(), y.tolist())
        except (TypeError, AttributeError):
            loss = self.fn(x.tolist(), _as_values(y.tolist()))  # it may have changed the sample
        return self._answer(loss)


def _other(one: Answer, other: Answer) -> bool:
    """Whether two answers differ in any bit."""
    return not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other))


def _finite(sizes: Any) -> Any:
    return sizes[np.isfinite(sizes)]


def _apart(one: Any, other: Any, allowed: float) -> Any:
    """Whether numbers differ by more than so much; what is not finite is near its like alone."""
    like = (one == other) | (np.isnan(one) & np.isnan(other))
    return ~(like | (np.abs(np.subtract(one, other)) <= allowed))


def _as_values(nest: Any) -> Any:
    return [_as_values(part) for part in nest] if isinstance(nest, list) else Value(nest)
