"""One walk over all rows: what every layer, unit and output does there, added up batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from microgradx._base.arguments import flat, nested
from microgradx.diagnosis.box import dependence
from microgradx.diagnosis.tallies import Book, Units
from microgradx.diagnosis.task import Task
from microgradx.engine import Value
from microgradx.explain.samples import role_of
from microgradx.interop.usage import in_use
from microgradx.replay import Replay, record
from microgradx.replay.batch import Array
from microgradx.replay.sums import Sums
from microgradx.replay.units import Key, is_unit, self_gated, units_of

ROOM = 2.0**24  # numbers that a batch's path sums may take, nodes times rows
AT_ONCE = 2000  # rows in a batch at most: Ctrl-C ends the walk after one
ARRAYS = 16  # of these for each node, beside those of the layers


class Survey:
    """What one walk over the rows of a task has found.

    replay:  of the loss of a row
    inputs, outputs: the recorded Values that the net takes and returns
    sums:    of the last batch
    losses:  of every row
    results: (outputs, n), what the net returned
    books:   by layer, in the order of the computation
    zs:      the nodes that the books are of: pre-activations, and outputs of linear units
    units:   the activations
    moved:   by parameter, whether its gradient is not 0 in some row
    gradient: of the mean loss, in the order of the replay's parameters
    cut_off: whether it ended before the last row
    finite:  by row whether loss and gradients are finite
    """

    def __init__(
        self,
        task: Task,
        stop: Callable[[], bool] = lambda: False,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.task = task
        tell("recording the net")
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.replay = self._recorded()
        self.losses = np.empty(len(task.X))
        self.results = np.empty((len(self.outputs), len(task.X)))
        self.books: dict[str, Book] = {}
        self.moved = np.zeros(len(self.replay.parameters), bool)
        self.gradient = np.zeros(len(self.replay.parameters))
        self.finite = np.ones(len(task.X), bool)
        self.done = 0
        self._walk(stop, tell)

    def _recorded(self) -> Replay:
        task, found = self.task, self.outputs

        def loss(x: Any, target: Any = None) -> Value:
            prediction = task.model(x)
            if not found:
                found.extend(flat(nested(prediction)))
                self.inputs = [*flat(nested(x))]
            value = task.of_row(prediction, target)
            value.label = value.label or "loss"
            return value

        example = [task.X[0]] if task.targets is None else [task.X[0], task.targets[0]]
        with in_use(task.model):
            return record(loss, *[x.tolist() for x in example])

    def pieces(self, n: int) -> int:
        """Into how many batches so many rows are cut, for the memory that their sums take."""
        computed = max(1, self.size - len(self.replay.parameters))
        return math.ceil(n / max(1, min(int(ROOM / (ARRAYS * computed)), AT_ONCE)))

    def batches(self) -> Iterator[tuple[slice, list[Array]]]:
        """The rows of each batch, and its arrays."""
        task, n = self.task, len(self.task.X)
        size = math.ceil(n / self.pieces(n))
        for start in range(0, n, size):
            rows = slice(start, min(start + size, n))
            yield rows, [x[rows] for x in (task.X, task.targets) if x is not None]

    @cached_property
    def kinds(self) -> dict[Value, int]:
        """How every node depends on the inputs; see `box.dependence`."""
        return dependence(self.replay.nodes, self.inputs)

    @cached_property
    def tensors(self) -> dict[str, list[int]]:
        """By name of a tensor the places of its elements among the replay's parameters."""
        found: dict[str, list[int]] = {}
        for k, p in enumerate(self.replay.parameters):
            name, bracket, _ = p.label.partition("[")
            found.setdefault(name if bracket else p.label, []).append(k)
        return found

    def first_of(self, layers: Sequence[str]) -> str:
        """The label of the first parameter of one of some layers, "" where there is none."""
        for name, places in self.tensors.items():
            if name.rpartition(".")[0] in layers:
                return str(self.replay.parameters[places[0]].label)
        return ""

    @property
    def size(self) -> int:
        """How many nodes were recorded."""
        return len(self.replay.nodes)

    def values_of(self, nodes: Sequence[Value]) -> Array:
        """The numbers of some recorded Values in every row, (nodes, n)."""
        found = []
        for _, batch in self.batches():
            with np.errstate(all="ignore"):
                self.replay.load(*batch)
                found.append(self.replay.values_of(nodes))
        return np.concatenate(found, axis=1)

    def values_at(self, points: Array, nodes: Sequence[Value]) -> Array:
        """The numbers of recorded Values at other inputs, (nodes, points)."""
        y = self.task.targets
        rows = [] if y is None else [np.repeat(y[:1], len(points), axis=0)]
        with np.errstate(all="ignore"):
            self.replay.load(points, *rows)
            return self.replay.values_of(nodes)

    def _walk(self, stop: Callable[[], bool], tell: Callable[[str], None]) -> None:
        for rows, batch in self.batches():
            with np.errstate(all="ignore"):
                self.replay.load(*batch)
                self.replay.run()
                sums = self.replay.sums(by_layer=True)
                if not self.done:
                    self._lay_out(sums)
                self._add(sums, rows)
                n = rows.stop - rows.start
                self.gradient += self.replay.gradient * n
                self.moved |= sums.moves(self.moved | (self.replay.gradient != 0))
            self.done = rows.stop
            tell(f"{self.done:,} of {len(self.losses):,} rows")
            if stop():
                break
        self.cut_off = self.done < len(self.losses)
        self.gradient /= self.done
        self._keep(self.done)

    def _keep(self, n: int) -> None:
        """Leave out the rows that have not been looked at."""
        task = self.task
        targets, y = (None if x is None else x[:n] for x in (task.targets, task.y))
        self.task = task._replace(X=task.X[:n], targets=targets, y=y)
        self.losses, self.finite = self.losses[:n], self.finite[:n]
        self.results = self.results[:, :n]

    # --- the layout of the graph, by its labels --------------------------------------------------

    def _lay_out(self, sums: Sums) -> None:
        """Find the layers and the units among the arrays."""
        self._zs: dict[str, list[tuple[str, Array]]] = {}
        outputs = {*self.outputs}
        units: list[Value] = []
        gated = self_gated(self.replay.nodes)
        where: dict[Value, tuple[str, int]] = {}
        labels = {x.label for nodes in sums.arrays() for x in nodes.nodes}
        zs_of: dict[str, list[Value]] = {}
        for nodes in sums.arrays():
            zs: dict[str, list[int]] = {}
            for k, x in enumerate(nodes.nodes):
                where[x] = nodes.name, k
                path, _, role = role_of(x.label)
                if nodes.op and role in ("y", "z") and not sums.in_loss(x):
                    if role == "z" or f"{x.label}.z" not in labels:
                        zs.setdefault(path, []).append(k)
                        zs_of.setdefault(path, []).append(x)
                if (
                    nodes.op
                    and is_unit(x)
                    and x not in gated
                    and (x in outputs or not sums.in_loss(x))
                ):
                    units.append(x)
            for path, places in zs.items():
                self._zs.setdefault(path, []).append((nodes.name, np.array(places)))
        self.books = {path: Book() for path in self._zs}
        self.zs = [x for path in self._zs for x in zs_of[path]]
        self._where = where
        self.widths = {
            path: len({role_of(x.label).neuron.rpartition(",")[2] for x in nodes})
            for path, nodes in zs_of.items()
        }
        made = {x: k for k, x in enumerate(self.replay.nodes)}
        self._lay_out_units(units_of(sorted(units, key=made.__getitem__), sums.layer_of))

    def _lay_out_units(self, members: dict[tuple[Key, str], list[Value]]) -> None:
        keys = [key for key, _ in members]
        self.units = Units(keys, [op for _, op in members], [*members.values()])
        unit = {x: u for u, nodes in enumerate(self.units.nodes) for x in nodes}
        by_array: dict[str, list[tuple[int, int]]] = {}
        for x, u in unit.items():
            name, k = self._where[x]
            by_array.setdefault(name, []).append((k, u))
        self._units = {name: np.array(x).T for name, x in by_array.items()}

    # --- adding up -------------------------------------------------------------------------------

    def _add(self, sums: Sums, rows: slice) -> None:
        n = rows.stop - rows.start
        for nodes in sums.arrays():
            if nodes.name in self._units:
                places, unit = self._units[nodes.name]
                self.units.add(nodes, places, unit, n)
        for path, arrays in self._zs.items():
            for name, places in arrays:
                flows = sums[name]
                whole = len(places) == len(flows.entropy)
                self.books[path].add(flows if whole else flows[places], sums.layers)
        flows = sums.of(self.outputs)
        self.results[:, rows] = sums.values_of(self.outputs)
        self.losses[rows] = sums.values_of([self.replay.output])[0]
        finite = np.isfinite(flows.g.mantissa).all(axis=0) & np.isfinite(self.losses[rows])
        for arrays in self._zs.values():
            for name, _ in arrays:
                finite &= np.isfinite(sums[name].g.mantissa).all(axis=0)
        self.finite[rows] = finite
