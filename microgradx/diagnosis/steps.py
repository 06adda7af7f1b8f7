"""The step of an optimiser: how far it moves each tensor, and what it does on the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from microgradx.diagnosis import optimizers
from microgradx.diagnosis.survey import Survey
from microgradx.diagnosis.table import Table
from microgradx.diagnosis.units import shares
from microgradx.explain.factors import of_one
from microgradx.replay.batch import Array
from microgradx.replay.sums import ARRAYS
from microgradx.replay.units import flat_below

ROWS = 1000  # at most so many are looked at, evenly spaced
REACH = 10  # the step is looked at from 2^-10 to 2^10 times its length
HALVINGS = 6  # of the gap between two lengths, by which the one where something begins is known


class State(NamedTuple):
    """The net at some length of the step, on the rows that are looked at.

    loss: the mean;  off, saturated: by unit whether it is off in every row, or saturated
    """

    loss: float
    off: Array
    saturated: Array


class Steps:
    """A step by the gradient of the mean loss over all rows.

    words:   the optimiser's name and settings
    table:   by tensor the root mean squares of its update and its weights, and log₁₀ of the ratio
    n:       how many rows it is tried on
    before, after: the net before and after it
    rises, dies, saturates: how many times the step's length it takes for the loss to rise, for the
             first unit to be off in every row, and to be saturated; inf beyond 1024
    best:    the length at which the loss is least, of 2^-10 … 2^10
    """

    def __init__(self, survey: Survey, optimizer: Any) -> None:
        parameters = survey.task.model.parameters()
        made = optimizers.for_parameters(optimizer, survey.task.model, parameters)
        self.words = optimizers.words(made)
        self._survey = survey
        n = len(survey.task.X)
        self._rows = np.arange(n) if n <= ROWS else np.arange(ROWS) * n // ROWS
        self.n = len(self._rows)
        self._zs = [[x.inputs[0] for x in nodes] for nodes in survey.units.nodes]
        self._share = shares(survey)
        self._known: dict[float, State] = {}
        replay = survey.replay
        try:
            self._base = replay.data.copy()
            self._update = _update_of(survey, made)
            self.table = _table(survey, self._update, self._base)
            self._look()
        finally:
            replay.refresh()

    def _look(self) -> None:
        self.before, self.after = self._at(0.0), self._at(1.0)
        lengths = [2.0**k for k in range(-REACH, REACH + 1, 2)]
        start = self.before
        self.rises = self._begins(lengths, lambda state: not state.loss <= start.loss)
        self.dies = self._begins(lengths, lambda state: bool((state.off & ~start.off).any()))
        self.saturates = self._begins(
            lengths, lambda state: bool((state.saturated & ~start.saturated).any())
        )
        tried = [t for t in self._known if t and math.isfinite(self._known[t].loss)]
        self.best = min(tried, key=lambda t: self._known[t].loss, default=0.0)

    def _begins(self, lengths: Sequence[float], so: Callable[[State], bool]) -> float:
        """The least length at which something is so, by halving the gap before the first."""
        first = next((k for k, t in enumerate(lengths) if so(self._at(t))), None)
        if first is None:
            return math.inf
        low, high = lengths[first - 1] if first else lengths[0] / 4.0, lengths[first]
        for _ in range(HALVINGS):
            between = math.sqrt(low * high)
            if so(self._at(between)):
                high = between
            else:
                low = between
        return high

    def _at(self, length: float) -> State:
        if length not in self._known:
            self._known[length] = self._tried(length)
        return self._known[length]

    def _tried(self, length: float) -> State:
        survey, replay = self._survey, self._survey.replay
        task = survey.task
        n = len(survey.units.keys)
        seen, off, saturated, total = np.zeros(n), np.zeros(n), np.zeros(n), 0.0
        with np.errstate(all="ignore"):
            replay.data = self._base + length * self._update
            for rows in np.array_split(self._rows, survey.pieces(len(self._rows))):
                replay.load(*[x[rows] for x in (task.X, task.targets) if x is not None])
                total += float(replay.values_of([replay.output]).sum())
                for u, z in enumerate(self._values()):
                    node = survey.units.nodes[u][0]
                    slopes = np.abs(np.broadcast_to(of_one(ARRAYS, node, z)[1], z.shape))
                    seen[u] += slopes.size
                    off[u] += (slopes == 0).sum()
                    saturated[u] += (slopes < flat_below(node)).sum()
        return State(
            total / len(self._rows), off == seen, (saturated >= self._share * seen) & (off < seen)
        )

    def _values(self) -> list[Array]:
        """By unit, the numbers of its z at all its positions."""
        every = self._survey.replay.values_of([z for zs in self._zs for z in zs])
        ends = np.cumsum([len(zs) for zs in self._zs])
        return np.split(every, ends)[:-1]

    @property
    def least(self) -> float:
        """The loss at the best length."""
        return self._known[self.best].loss

    @property
    def turned_off(self) -> list[int]:
        """The units that it turns off in every row, by their places."""
        return [int(u) for u in np.flatnonzero(self.after.off & ~self.before.off)]

    @property
    def shut(self) -> list[int]:
        """Those that it saturates."""
        return [int(u) for u in np.flatnonzero(self.after.saturated & ~self.before.saturated)]


def _update_of(survey: Survey, optimizer: Any) -> Array:
    """By parameter of the replay what the step adds to it."""
    replay = survey.replay
    place = {p: k for k, p in enumerate(replay.parameters)}
    moving = [k for k, p in enumerate(optimizer.parameters) if p in place]
    places = [place[optimizer.parameters[k]] for k in moving]
    one = SimpleNamespace(data=replay.data[places].copy(), grad=survey.gradient[places].copy())
    state = {name: [np.array(numbers, float)[moving]] for name, numbers in optimizer.state.items()}
    with np.errstate(all="ignore"):
        optimizer.move(np, [one], state)
    update = np.zeros(len(replay.parameters))
    update[places] = one.data - replay.data[places]
    return update


def _table(survey: Survey, update: Array, data: Array) -> Table:
    groups = survey.tensors
    sizes = [(float(_rms(update[x])), float(_rms(data[x]))) for x in groups.values()]
    with np.errstate(all="ignore"):
        ratios = [float(np.log10(u / w)) if w else math.nan for u, w in sizes]
    return Table({
        "tensor": [name or "leaves" for name in groups],
        "parameters": [len(x) for x in groups.values()],
        "update": [u for u, _ in sizes], "weight": [w for _, w in sizes], "log10 ratio": ratios,
    })  # fmt: skip


def _rms(x: Array) -> Any:
    return np.sqrt(np.mean(x * x))
