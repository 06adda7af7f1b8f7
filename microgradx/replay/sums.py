"""Sums over all paths from every node of every row to its loss: `explain.paths`, for a batch.

A row is one sample. From the last array to the first, each adds up what its readers give to it, as
the gradient does. Each edge of the graph counts by itself, also where one operand is read twice.

Nothing here runs the adjoints of the generated source: the local derivatives are those that the
rules of the table give for the values of the replay. So the gradients are a second opinion, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from microgradx.engine import Value
from microgradx.replay import runtime
from microgradx.replay.arrays import Arrays, Op
from microgradx.replay.edges import CODE, CONSTANTS, LOSS, Plan, Side, fan_of, in_layers_of
from microgradx.replay.flows import EDGES, Flows, Given, along, joined, reshaped, through
from microgradx.replay.tape import NONE, Tape
from microgradx.replay.totals import Totals, met, moved, nothing, outer, over_rows
from microgradx.replay.views import Ids
from microgradx.replay.wide import wide


class Nodes(NamedTuple):
    """The nodes that one statement of a replay computes, or those of an input, over a batch.

    name:     of the array, as in `replay.source` where nothing is computed once for several nodes
    op:       the op of the nodes, "" for an input; "sum" where sums are written in several ways
    nodes:    the recorded Values, for their labels; their numbers are those of the recording
    operands: the names of the arrays that these read; "p" is that of the parameters
    values:   a row a node, a column a row of the batch; one column if all rows share the nodes
    sums:     of the batch
    """

    name: str
    op: str
    nodes: list[Value]
    operands: tuple[str, ...]
    values: Any
    sums: Sums

    @property
    def labels(self) -> list[str]:
        """Those of the nodes."""
        return [x.label for x in self.nodes]

    @property
    def flows(self) -> Flows:
        """Their path sums."""
        return self.sums[self.name]

    @property
    def slopes(self) -> Any:
        """∂node/∂its first operand; None for what is no op, or one of lists."""
        return self.sums.slopes(self.name)

    @property
    def adjoints(self) -> Any:
        """∂(loss of the row)/∂node, not ∂(mean loss), in the shape of all rows."""
        return self.flows.g.floats


class Sums:
    """The path sums of a batch: `sums[name]` of an array's nodes, `sums.of(nodes)` of any.

    n:      how many rows there are
    layers: the names of the layers by which budgets are split, "" the first, for what is of none

    plan, arrays: of the replay; results: by name, the numbers in those arrays
    """

    def __init__(self, plan: Plan, arrays: Arrays, results: Mapping[str, Any], n: int) -> None:
        self.n, self.layers = n, plan.layers
        self._plan, self._arrays, self._results = plan, arrays, results
        self._flows: dict[int, Flows] = {}
        self._partials: dict[str, Any] = {}
        loss = plan.tape.outputs[0]
        self._seed = int(plan.home[loss]), int(plan.index[loss])
        self._numbers = {a.name: h for h, a in enumerate(plan.arrays.all)}
        with np.errstate(all="ignore"):
            for h, array in reversed([*enumerate(plan.arrays.all)]):
                if array.value is not None and (given := self._given(h)):
                    self._flows[h] = joined(array.ids.size, given, n)

    def __getitem__(self, name: str) -> Flows:
        """Those of an array, by its name in `arrays()`; 0 where nothing leads on to the loss."""
        h = self._numbers[name]
        if h not in self._flows:
            self._flows[h] = self._at(self._plan.arrays.all[h].ids.ravel())
        return self._flows[h]

    def arrays(self) -> Iterator[Nodes]:
        """The inputs and what is computed, each array after those that it reads.

        The parameters are none of them, nor are the nodes in the midst of a sum, whose path sums
        are those of the sum.
        """
        plan, tape = self._plan, self._plan.tape
        for h, array in enumerate(plan.arrays.all):
            if h and array.ids.size and plan.home[array.ids.flat[0]] == h:
                ids = array.ids.ravel()
                nodes = [tape.values[i] for i in ids.tolist()]
                ops = {x.op for x in nodes} if array.value is not None else {""}
                op = ops.pop() if len(ops) == 1 else "sum"
                reads = tuple(plan.reads.get(array.name, ()))
                yield Nodes(array.name, op, nodes, reads, self._values(ids), self)

    def of(self, nodes: Iterable[Value]) -> Flows:
        """Those of recorded Values, parameters for instance: a row each, in this order.

        A Value that was not recorded is a KeyError. From parameters by row takes their number times
        that of the rows: ask for a few at once, or for `totals`.
        """
        ids = np.array([self._plan.tape.known(x) for x in nodes], dtype=np.int64)
        once, back = np.unique(ids, return_inverse=True)
        return self._at(once)[back.ravel()]

    def values_of(self, nodes: Iterable[Value]) -> Any:
        """The numbers of recorded Values over the batch, in rows as in `Nodes.values`."""
        ids = [self._plan.tape.known(x) for x in nodes]
        home = self._arrays.home
        if all(home[i] >= 0 for i in ids):
            return self._values(np.array(ids, dtype=np.int64))
        found = worked_out(
            self._plan.tape, ids, home, lambda i: self._values(np.array([i], dtype=np.int64))[0]
        )
        return np.array([np.broadcast_to(found[i], self.n) for i in ids], float)

    def layer_of(self, node: Value) -> str:
        """The layer that a recorded Value is part of by its label, or by that of what reads it."""
        found: str = self.layers[self._plan.levels[self._plan.tape.known(node)]]
        return found

    def in_loss(self, node: Value) -> bool:
        """Whether a recorded Value comes after all layers, in the loss."""
        return bool(self._plan.loss[self._plan.tape.known(node)])

    def slopes(self, name: str) -> Any:
        """By an array's name, the partials to the first operands of its nodes; None without."""
        note = self._plan.notes.get(name)
        if note is None or note.rule.operands[0] in note.rule.lists:
            return None
        return self._of_op(note)[0].get((0, None))

    def _at(self, ids: Ids) -> Flows:
        """Those of nodes by their ids, each once."""
        home, index = self._plan.home[ids], self._plan.index[ids]
        found: list[Given] = []
        with np.errstate(all="ignore"):
            for h in np.unique(home).tolist():
                mine = np.flatnonzero(home == h)
                if self._plan.arrays.all[h].value is None:
                    found += [
                        g._replace(places=mine[g.places]) for g in self._given(h, index[mine])
                    ]
                elif h in self._flows:
                    found.append(Given(mine, self._flows[h][index[mine]], CONSTANTS, None))
            return joined(len(ids), found, self.n)

    # --- over the rows -------------------------------------------------------------------------

    def totals(self) -> Totals:
        """Sums over the rows for every parameter, in the order of `replay.parameters`.

        A layer's weights take a few products of matrices; those that are read several times in a
        sample, as a convolution's are, as much as `of` them.
        """
        plan, n = self._plan, self.n
        total = nothing(len(plan.counts), n)
        with np.errstate(all="ignore"):
            for side, places in plan.grids:
                flows = self._flows.get(self._numbers[side.note.array.name])
                if flows is not None:
                    x = self._values(side.note.x[0])
                    x = np.broadcast_to(x, (len(x), n))
                    total.put(places, outer(flows, x, int(side.kinds[0])))
            ends = np.cumsum(plan.counts[plan.rest]) * n // EDGES
            for block in np.unique(ends).tolist():
                places = plan.rest[ends == block]
                total.put(places, over_rows(self._at(plan.arrays.p.ids[places])))
        return total.taken(plan.index[self._arrays.p.ids])

    def moves(self, known: Any) -> Any:
        """By parameter whether its g is not 0 in some row, in the order of `replay.parameters`.

        known: those of which that is known, as the gradient of the mean loss is not 0
        """
        plan, ids = self._plan, self._arrays.p.ids
        found = np.zeros(len(plan.counts), bool)
        found[plan.index[ids]] = known
        with np.errstate(all="ignore"):
            for side, places in plan.grids:
                flows = self._flows.get(self._numbers[side.note.array.name])
                if flows is not None and not found[places].all():
                    x = self._values(side.note.x[0])
                    found[places] |= met(flows, np.broadcast_to(x, (len(x), self.n)))
            rest = plan.rest[~found[plan.rest]]
            for block in np.array_split(rest, len(rest) * self.n // EDGES + 1):
                if len(block):
                    found[block] = moved(self._at(plan.arrays.p.ids[block])).any(axis=1)
        return found[plan.index[ids]]

    # --- what a node is given --------------------------------------------------------------------

    def _given(self, h: int, asked: Ids | None = None) -> list[Given]:
        """All that comes to an array, or to the places in it that are asked for."""
        plan, found = self._plan, []
        place = np.full(plan.arrays.all[h].ids.size, NONE)
        asked = np.arange(len(place)) if asked is None else asked
        place[asked] = np.arange(len(asked))
        if h == self._seed[0] and place[self._seed[1]] >= 0:
            one = np.ones((1, self.n))
            came = one > 0 if plan.selects else None
            seed = Flows(wide(one), wide(one), came, 0.0 * one, {})
            found.append(Given(place[[self._seed[1]]], seed, CONSTANTS, None))
        for side, edges, index in plan.sides.get(h, ()):
            flows = self._flows.get(self._numbers[side.note.array.name])
            if flows is None:
                continue
            if len(asked) < len(place):
                mine = np.flatnonzero(place[index] >= 0)
                edges, index = mine if edges is None else edges[mine], index[mine]
            if len(index):
                give = self._by_matrices if side.whole else self._by_edges
                found.append(give(side, flows, edges, place[index]))
        return found

    def _by_edges(self, side: Side, flows: Flows, edges: Ids | None, index: Ids) -> Given:
        """What goes along edges, one by one."""
        note, size = side.note, side.note.array.ids.size
        heads = (np.arange(len(side.kinds)) if edges is None else edges) % size
        kinds = (side.kinds if edges is None else side.kinds[edges])[:, None]
        ceilings, selects = None, False
        if isinstance(note, Op):
            partials, regular, ceilings = self._of_op(note)
            d = partials[side.at][heads]
            selects = note.rule.selects
            ceilings = ceilings if ceilings is None else ceilings[heads]
            if regular is not None:
                regular = _full(regular, size)[heads]
                free = in_layers_of(kinds, CODE["activations"])
                kinds = np.where(regular & (kinds != LOSS), free, kinds)
        elif side.at is None:
            d = np.ones((1, 1))
        else:
            d = self._values(side.at if edges is None else side.at[edges])
        if edges is not None or len(heads) > size:
            flows = flows[heads]
        found = along(flows, d, kinds, ceilings, selects)
        return Given(index, found, fan_of(kinds), self._plan.samples_of(side, edges))

    def _by_matrices(self, side: Side, flows: Flows, edges: Ids | None, index: Ids) -> Given:
        """What the inputs of a product get: by all rows of its weights at once."""
        note = side.note
        w = self._values(note.w.ravel()).reshape(note.w.shape)
        columns, n = len(note.x), self.n
        found = through(w, reshaped(flows, len(w), columns * n), int(side.kinds[0]))
        found = reshaped(found, w.shape[1] * columns, n)
        found = found if edges is None else found[edges]
        samples = self._plan.samples_of(side, edges)
        return Given(index, found, fan_of(side.kinds[:1, None]), samples)

    def _of_op(self, note: Op) -> Any:
        """By operand its partials; where a power's factors are activations; ln of ceilings."""
        name = note.array.name
        if name not in self._partials:
            self._partials[name] = self._computed(note)
        return self._partials[name]

    def _computed(self, note: Op) -> Any:
        rule, size = note.rule, note.array.ids.size
        operands: list[Any] = []
        for block, operand in zip(note.blocks, rule.operands):
            numbers = self._values(block.ravel())
            many = operand in rule.lists
            operands.append([*numbers.reshape(len(block), size, -1)] if many else numbers)
        partials: dict[Any, Any] = {}
        for k, d in enumerate(rule.function(ARRAYS, *operands)[1:]):
            members = enumerate(d) if isinstance(d, list) else [(None, d)]
            partials |= {(k, j): _full(x, size) for j, x in members if x is not None}
        ceilings = self._plan.ceilings[note.array.ids].reshape(size, 1)
        regular = None
        if rule.kind == "singular" and rule.regular is not None:
            regular = np.asarray(rule.regular(*operands), bool)
        return partials, regular, ceilings if ceilings.any() else None

    def _values(self, ids: Ids) -> Any:
        """The numbers of nodes and constants, a row each; just one column if all rows share it."""
        arrays, tape = self._arrays, self._plan.tape
        home = arrays.home[ids]
        found = []
        for h in np.unique(home).tolist():
            mine = np.flatnonzero(home == h)
            if h < 0:
                numbers = np.array([[tape.number(i)] for i in ids[mine].tolist()])
            else:
                array, index = arrays.all[h], arrays.index[ids[mine]]
                whole = np.asarray(self._results[array.name], float).reshape(array.ids.size, -1)
                straight = (index == np.arange(index[0], index[0] + len(index))).all()
                numbers = whole[index[0] : index[0] + len(index)] if straight else whole[index]
            if len(mine) == len(ids):
                return numbers
            found.append((mine, numbers))
        out = np.empty((len(ids), max(x.shape[1] for _, x in found)))
        for mine, numbers in found:
            out[mine] = numbers
        return out


def worked_out(
    tape: Tape, ids: Iterable[int], home: Ids, stored: Callable[[int], Any]
) -> dict[int, Any]:
    """The numbers of nodes by id; those in the midst of a sum, that no array has, by their rules.

    stored: the numbers of one that an array has
    """
    found: dict[int, Any] = {}
    stack = [*ids]
    while stack:
        i = stack[-1]
        if i in found:
            stack.pop()
        elif tape.is_number(i):
            found[i] = tape.number(i)
        elif home[i] >= 0:
            found[i] = stored(i)
        elif missing := [j for j in tape.operands(i) if j not in found]:
            stack += missing
        else:
            rows = [[found[j] for j in row] for row in tape.rows[i]]
            operands = [*rows, *[found[j] for j in tape.args[i]]]
            rule = tape.rules[i]
            assert rule is not None
            found[i] = rule.function(ARRAYS, *operands)[0]
    return found


def _full(x: Any, size: int) -> Any:
    """A partial, or another fact, with a row for each node."""
    x = np.asarray(x)
    return np.broadcast_to(x, (size, x.shape[-1] if x.ndim else 1))


class _Namespace:
    """What rules call, on arrays: NumPy, and what it lacks."""

    def __getattr__(self, name: str) -> Any:
        ours = getattr(runtime, name, None)
        if ours is None:
            return getattr(np, name)

        def call(x: Any) -> Any:
            out = np.empty_like(x)
            ours(x, out)
            return out

        return call

    def exp_difference(self, x: Any, y: Any) -> Any:
        return np.exp(x - y)

    def sum_and_log(self, parts: Sequence[Any]) -> tuple[Any, Any]:
        total = sum(parts)
        return total, np.log(total)


ARRAYS = _Namespace()
