"""One walk over all rows: what every layer, unit and output does there, added up batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from microgradx._base.arguments import flat, nested
from microgradx._base.text import element
from microgradx.diagnosis.box import dependence
from microgradx.diagnosis.task import Task, in_use
from microgradx.engine import Value
from microgradx.explain.paths import shut_from
from microgradx.explain.samples import role_of
from microgradx.replay import Replay, record
from microgradx.replay.batch import Array
from microgradx.replay.flows import Flows
from microgradx.replay.sums import Nodes, Sums

ROOM = 2.0**24  # numbers that a batch's path sums may take, nodes times rows
AT_ONCE = 2000  # rows in a batch at most: Ctrl-C ends the walk after one
ARRAYS = 16  # of these for each node, beside those of the layers
BIN = 0.01  # decades: how exactly medians are known
DEEP = 4  # nodes below z that a product is looked for
SPAN = 400.0  # decades up and down of which medians are told apart

Key = tuple[str, str]  # a layer and the number of a unit


@dataclass
class Book:
    """What is added up of one layer, over its nodes in every row.

    nodes:   how many there are, times rows
    reached, moved: of these, where R is finite and not 0, and where g is not 0 either
    norm, decades: Σ log₁₀ R and Σ log₁₀|g|, over the moved; over the reached if none moves
    parts:   the like of every part of the budget, by kind and layer
    counts:  a histogram of log₁₀|g|
    """

    nodes: int = 0
    reached: int = 0
    moved: int = 0
    norm: float = 0.0
    decades: float = 0.0
    parts: dict[tuple[str, str], float] = field(default_factory=dict)
    counts: Any = field(default_factory=lambda: np.zeros(round(2 * SPAN / BIN), np.int64))
    still: tuple[float, dict[tuple[str, str], float]] = (0.0, {})

    def add(self, flows: Flows, layers: Sequence[str]) -> None:
        m, g = flows.squares.mantissa, flows.g.mantissa
        reached = np.isfinite(m) & (m != 0)
        moved = reached & np.isfinite(g) & (g != 0)
        self.nodes += m.size
        self.reached += int(np.count_nonzero(reached))
        self.moved += int(np.count_nonzero(moved))
        ledger = {(kind, layers[k]): x for (kind, k), x in flows.ledger.items()}
        norm = 0.5 * flows.squares.decades
        if (rest := reached & ~moved).any():
            total, parts = self.still
            self.still = total + float(norm[rest].sum()), _more(parts, ledger, rest)
        decades = flows.g.decades[moved]
        self.norm += float(norm[moved].sum())
        self.decades += float(decades.sum())
        self.parts = _more(self.parts, ledger, moved)
        bins = ((decades + SPAN) / BIN).clip(0, len(self.counts) - 1).astype(np.int64)
        self.counts += np.bincount(bins, minlength=len(self.counts))

    @property
    def means(self) -> tuple[float, float, dict[tuple[str, str], float]]:
        """The mean decades of R and of g, and of the parts of R's."""
        n, norm, parts = self.moved, self.norm, self.parts
        if not n:
            n, (norm, parts) = self.reached, self.still
        if not n:
            return -np.inf, -np.inf, {}
        decades = self.decades / n if self.moved else -np.inf
        return norm / n, decades, {key: x / n for key, x in parts.items()}

    @property
    def median(self) -> float:
        """Of log₁₀|g| where it is not 0."""
        if not self.moved:
            return -np.inf
        k = int(np.searchsorted(self.counts.cumsum(), 0.5 * self.moved))
        return (k + 0.5) * BIN - SPAN


def _more(parts: dict[Any, float], ledger: dict[Any, Array], where: Array) -> dict[Any, float]:
    return parts | {key: parts.get(key, 0.0) + float(x[where].sum()) for key, x in ledger.items()}


class Units:
    """The activations of the net, those of one unit at all its positions together.

    keys:  by unit its layer and its number there, `ops` its activation
    nodes: by unit the recorded Values, one a position

    Over all rows and positions, each an array by unit:
    seen:      how often
    off:       how often its slope was 0, saturated: how often below 1 % of its largest
    least, most: of z;  low, high: of its output
    total, squares: Σ y and Σ (y - shift)², shift being the first y
    passed:    how often a gradient came to it
    """

    def __init__(self, keys: list[Key], ops: list[str], nodes: list[list[Value]]) -> None:
        self.keys, self.ops, self.nodes = keys, ops, nodes
        n = len(keys)
        self.seen, self.off, self.saturated, self.passed = np.zeros((4, n))
        self.least, self.low = np.full((2, n), np.inf)
        self.most, self.high = np.full((2, n), -np.inf)
        self.total, self.squares, self.shift = np.zeros((3, n))

    @property
    def mean(self) -> Any:
        return self.shift + self.total / np.maximum(self.seen, 1)

    @property
    def spread(self) -> Any:
        n = np.maximum(self.seen, 1)
        with np.errstate(all="ignore"):
            return np.sqrt(np.maximum(self.squares / n - (self.total / n) ** 2, 0.0))


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
        members: dict[tuple[Key, str], list[Value]] = {}
        where: dict[Value, tuple[str, int]] = {}
        labels = {x.label for nodes in sums.arrays() for x in nodes.nodes}
        zs_of: dict[str, list[Value]] = {}
        for nodes in sums.arrays():
            zs: dict[str, list[int]] = {}
            for k, x in enumerate(nodes.nodes):
                where[x] = nodes.name, k
                path, index, role = role_of(x.label)
                if nodes.op and role in ("y", "z") and not sums.in_loss(x):
                    if role == "z" or f"{x.label}.z" not in labels:
                        zs.setdefault(path, []).append(k)
                        zs_of.setdefault(path, []).append(x)
                if nodes.op and is_unit(x) and (x in outputs or not sums.in_loss(x)):
                    key = (path, index.rpartition(",")[2]) if role == "y" else ("", "")
                    members.setdefault((key, x.op), []).append(x)
            for path, places in zs.items():
                self._zs.setdefault(path, []).append((nodes.name, np.array(places)))
        self.books = {path: Book() for path in self._zs}
        self.zs = [x for path in self._zs for x in zs_of[path]]
        self._where = where
        self.widths = {
            path: len({role_of(x.label).neuron.rpartition(",")[2] for x in nodes})
            for path, nodes in zs_of.items()
        }
        self._lay_out_units(_named(members, sums))

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
                self._add_units(nodes, n)
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

    def _add_units(self, nodes: Nodes, n: int) -> None:
        places, unit = self._units[nodes.name]
        units, rule = self.units, nodes.nodes[0].rule
        assert rule is not None
        slopes = np.abs(np.broadcast_to(nodes.slopes, (len(nodes.nodes), n))[places])
        y = np.broadcast_to(nodes.values, (len(nodes.nodes), n))[places]
        zs = [nodes.nodes[k].inputs[0] for k in places.tolist()]
        z = np.broadcast_to(nodes.sums.values_of(zs), (len(zs), n))
        flows, least = nodes.flows, shut_from(rule) if rule.kind == "saturating" else 0.0
        fresh = units.seen[unit] == 0
        units.shift[unit[fresh]] = y[fresh, 0]
        off = y - units.shift[unit][:, None]
        for whole, part in (
            (units.seen, np.full(len(unit), n)), (units.off, (slopes == 0).sum(axis=1)),
            (units.saturated, (slopes < least).sum(axis=1)),
            (units.passed, (flows.squares.mantissa[places] != 0).sum(axis=1)),
            (units.total, off.sum(axis=1)), (units.squares, (off * off).sum(axis=1)),
        ):  # fmt: skip
            np.add.at(whole, unit, part)
        np.minimum.at(units.least, unit, z.min(axis=1))
        np.maximum.at(units.most, unit, z.max(axis=1))
        np.minimum.at(units.low, unit, y.min(axis=1))
        np.maximum.at(units.high, unit, y.max(axis=1))


def is_unit(x: Value) -> bool:
    """Whether a node is an activation: of one number, and flat where that is too small or large."""
    rule = x.rule
    if rule is None or len(x.inputs) != 1 or rule.silent or rule.lists:
        return False
    return rule.kind in ("saturating", "gate")


def _named(
    members: dict[tuple[Key, str], list[Value]], sums: Sums
) -> dict[tuple[Key, str], list[Value]]:
    """Units without a label are called by their op, in the layer of what reads them.

    Their numbers are those of their rows of weights, so that the steps of a recurrent net are one.
    """
    found: dict[tuple[Key, str], list[Value]] = {}
    for (key, op), nodes in members.items():
        if key != ("", ""):
            found[key, op] = nodes
            continue
        numbers: dict[str, int] = {}
        for x in nodes:
            layer = f"{sums.layer_of(x)} {op}".strip()
            product = next(products(x.inputs[0]), None)
            row = element(product[0][0].label)[1] if product else ()
            if not row:
                numbers[layer] = numbers.get(layer, -1) + 1
                row = (numbers[layer],)
            found.setdefault(((layer, str(row[0])), op), []).append(x)
    return found


def products(z: Value) -> Iterator[tuple[list[Value], Sequence[Any]]]:
    """The products of lists that z is a sum of: leaves, and what they are multiplied with."""
    level = [z]
    for _ in range(DEEP):
        below: list[Value] = []
        for node in level:
            rule = node.rule
            if rule is not None and rule.kind == "product" and rule.lists:
                for row, other in (node.operands[:2], node.operands[1::-1]):
                    if all(isinstance(p, Value) and p.rule is None for p in row):
                        yield list(row), other
                        break
            elif rule is not None and rule.kind == "linear":
                below += [x for x in node.inputs if not role_of(x.label).role]
        level = below
