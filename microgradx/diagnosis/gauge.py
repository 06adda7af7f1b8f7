"""The figures of a net on all rows of a task: its mean loss, its accuracy, its dead ReLUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from microgradx._base.arguments import flat, nested, shape
from microgradx.diagnosis.task import Task
from microgradx.engine import Value
from microgradx.explain.samples import role_of
from microgradx.interop.usage import in_use
from microgradx.nn.module import Module
from microgradx.replay import Replay, record
from microgradx.replay.batch import PIECE, Array
from microgradx.replay.units import Key, is_unit

ROOM = 2**24  # numbers that a batch may take, nodes times rows


class Figures(NamedTuple):
    """Of all rows.

    loss:     the mean
    accuracy: None where the loss has none
    dead:     how many ReLUs are off in every row; None for a net without ReLUs
    """

    loss: float
    accuracy: float | None = None
    dead: int | None = None


class Gauge:
    """A net that is recorded once, to be measured at any numbers of its parameters.

    relus: by layer and unit, its ReLUs, one a position
    """

    def __init__(self, task: Task, model: Module) -> None:
        self.task, self.prediction = task, None
        with in_use(model):
            self.replay = self._recorded(model)
        self.outputs: list[Value] = [*flat(nested(self.prediction))]
        place = {p: k for k, p in enumerate(model.parameters())}
        self._places = [place[p] for p in self.replay.parameters]
        self.relus: dict[Key, list[Value]] = {}
        for node in _behind(self.replay.nodes, self.outputs):
            if _is_relu(node):
                self.relus.setdefault(_key(node, len(self.relus)), []).append(node)

    def _recorded(self, model: Module) -> Replay:
        task = self.task

        def loss_and_outputs(x: Any, target: Any) -> list[Value]:
            prediction = model(x)
            if self.prediction is None:
                self.prediction = prediction
            return [task.of_row(prediction, target), *flat(nested(prediction))]

        assert task.targets is not None
        return record(loss_and_outputs, task.X[0].tolist(), task.targets[0].tolist())

    def figures(self, model: Module) -> Figures:
        """Those of a net of the same graph, such as a copy that was trained."""
        relus = [node for nodes in self.relus.values() for node in nodes]
        zs, k = [node.inputs[0] for node in relus], 1 + len(self.outputs)
        tops, results = np.full(len(zs), -np.inf), []
        for found in self._batches(model, [self.replay.output, *self.outputs, *zs]):
            results.append(found[:k])
            tops = np.maximum(tops, found[k:].max(axis=1))
        losses, *predictions = np.concatenate(results, axis=1)
        return Figures(
            float(losses.mean()), self._accuracy(np.array(predictions).T), self._dead(tops)
        )

    def zs_of(self, model: Module, keys: Sequence[Key]) -> list[Array]:
        """The z of some ReLUs, each in every row and at every position."""
        zs = [[node.inputs[0] for node in self.relus[key]] for key in keys]
        found = np.concatenate([*self._batches(model, [z for part in zs for z in part])], axis=1)
        ends = np.cumsum([len(part) for part in zs])[:-1]
        return [part.ravel() for part in np.split(found, ends)]

    def _batches(self, model: Module, nodes: Sequence[Value]) -> Iterator[Array]:
        """The numbers of some nodes, (nodes, rows), a batch at a time."""
        parameters, task = model.parameters(), self.task
        self.replay.data[:] = [parameters[k].data for k in self._places]
        size = max(1, min(PIECE, ROOM // len(self.replay.nodes)))
        assert task.targets is not None
        for start in range(0, len(task.X), size):
            rows = slice(start, start + size)
            with np.errstate(all="ignore"):
                self.replay.load(task.X[rows], task.targets[rows])
            yield self.replay.values_of(nodes)

    def _accuracy(self, predictions: Array) -> float | None:
        metric, targets = self.task.loss.metrics.get("accuracy"), self.task.targets
        assert targets is not None
        form = shape(nested(self.prediction)) or ()
        rows = predictions.reshape(len(predictions), *form)
        return None if metric is None else float(metric(rows, targets))

    def _dead(self, tops: Array) -> int | None:
        """The ReLUs that are off at all of their positions, by the largest z at each."""
        if not self.relus:
            return None
        ends = np.cumsum([len(nodes) for nodes in self.relus.values()])
        return sum(bool((part <= 0.0).all()) for part in np.split(tops, ends[:-1]))


def _is_relu(node: Value) -> bool:
    return is_unit(node) and node.rule is not None and node.rule.shut_below == 0.0


def _key(node: Value, number: int) -> Key:
    """The layer and the unit that a label names; a number where it names none."""
    layer, index, _ = role_of(node.label)
    return (layer, index.rpartition(",")[2]) if layer else ("", f"relu {number}")


def _behind(nodes: Sequence[Value], outputs: Sequence[Value]) -> list[Value]:
    """The nodes that the outputs are made of, without those of the loss alone."""
    needed = {*outputs}
    for node in reversed(nodes):
        if node in needed:
            needed.update(node.inputs)
    return [node for node in nodes if node in needed]
