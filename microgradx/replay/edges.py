"""The edges of a recorded graph, by the arrays that they lead from, each with its kind of factor.

A kind is a number here: its place in KINDS; where layers count too, plus the number of kinds for
each layer before the one that the edge leads into.

The nodes are laid out anew for it, each in a place of its own: where a replay computes one for
several that say the same, the gradient of each is another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from microgradx import rules
from microgradx.engine import Value
from microgradx.explain.factors import FANS, KINDS, Factors
from microgradx.replay.arrays import Arrays, Op, Terms
from microgradx.replay.lifter import lift_all
from microgradx.replay.loops import Sum
from microgradx.replay.tape import NONE, Tape
from microgradx.replay.units import layers_by_reader
from microgradx.replay.views import Ids

CODE = {kind: k for k, kind in enumerate(KINDS)}
CONSTANTS, LOSS, CEILING = CODE["constants"], CODE["loss"], CODE["sigmoid ceiling"]
FAN = np.array([CODE[FANS.get(kind, kind)] for kind in KINDS])  # by kind, whose the fan-out is


def fan_of(kinds: Any) -> Any:
    """The kinds that the fan-out into edges of these kinds is credited to, in the same layers."""
    return FAN[kinds % len(KINDS)] + kinds - kinds % len(KINDS)


def in_layers_of(kinds: Any, kind: int) -> Any:
    """This kind, in the layers of those."""
    return kinds - kinds % len(KINDS) + kind


def split(kind: int) -> tuple[str, int]:
    """The name of a kind, and the number of its layer."""
    layer, code = divmod(kind, len(KINDS))
    return KINDS[code], layer


class Side(NamedTuple):
    """Edges from one operand of a statement.

    tails: the ids of the operand's nodes, one an edge
    heads: those of the nodes that the edges lead into; in the midst of a sum these are not its own
    kinds: the kind of each edge's factor, with its ceiling
    at:    of an op, which operand, and which member of a list; of terms, the ids that the partials
           are the values of, None where those are 1
    whole: whether it is done by matrices, as its edges are all of one kind; then there is one in
           place of all edges from an input
    """

    note: Any
    tails: Ids
    heads: Ids
    kinds: Ids
    at: Any
    whole: bool = False


class Plan:
    """The edges of a replay's graph, by the arrays that they lead from.

    arrays: the arrays, each node in a place of its own
    home, index: by id the array and the place there; a node in the midst of a sum has the sum's
    sides:  by array, what reads it: a side, which of its edges, and the places of their nodes
    reads:  by array, the names of those that it reads
    notes:  by array, the op of its nodes, where they are no sums

    grids:  of products in one column, the sides to weights that nothing else reads
    rest:   the places of the other parameters; by place, `counts` has how many edges they have

    By id of a node:
    whats:    the kind that it is as a factor
    others:   the kind of the factors in its op, if that is no product; of a power those that are
              no activations
    loss:     whether its op is of the loss
    ceilings: ln of the ceiling of its op, 0 where it has none
    samples:  its sample, NONE where it is several; `several` are the leaves that these share

    levels:   the number of its layer in `layers`, the names; 0 and "" where it has none, or where
              layers don't count

    factors: those of one sample, `nodes` its nodes by id
    """

    def __init__(
        self,
        tape: Tape,
        inputs: Mapping[str, Ids],
        tail: Any,
        factors: Factors,
        nodes: Sequence[Value],
        by_layer: bool,
    ) -> None:
        self.tape = tape
        self.layers, self.levels = [""], np.zeros(len(nodes), dtype=np.int64)
        if by_layer:
            self.layers, self.levels = layers_by_reader(tape, nodes)
        self.arrays = arrays = Arrays(tape, inputs, tail, apart=True)
        sums = lift_all(arrays)
        notes = arrays.notes
        arrays.release()
        self._learn(factors, nodes)
        self.home, self.index = arrays.home, arrays.index
        self._mixed: dict[int, dict[tuple[int, int], int]] = {}
        for i, one in sums.items():
            if one.absorbed:
                self.home[one.absorbed], self.index[one.absorbed] = self.home[i], self.index[i]
                inside = [i, *one.absorbed]
                if len({*zip(self.loss[inside].tolist(), self.samples[inside].tolist())}) > 1:
                    self._mixed[i] = _readers_of(tape, i, one)
        self.notes = {note.array.name: note for note in notes if isinstance(note, Op)}
        self.selects = any(isinstance(note, Op) and note.rule.selects for note in notes)
        self.sides: dict[int, list[tuple[Side, Any, Ids]]] = {}
        self.reads: dict[str, dict[str, None]] = {}
        for note in notes:
            for side in self._sides_of_op(note) if isinstance(note, Op) else self._sides_of(note):
                self._enter(side)
        self._find_grids()

    def _find_grids(self) -> None:
        """Find the parameters of which one edge leads from each, as from a layer's weights."""
        sides = self.sides.get(0, [])
        self.counts = np.zeros(self.arrays.p.ids.size, dtype=np.int64)
        for _, _, index in sides:
            self.counts += np.bincount(index, minlength=len(self.counts))
        rest = np.ones(len(self.counts), bool)
        self.grids: list[tuple[Side, Ids]] = []
        for side, edges, index in sides:
            note = side.note
            alone = edges is None and (self.counts[index] == 1).all()
            if alone and isinstance(note, Terms) and note.product and note.x is not None:
                if (side.kinds == side.kinds[0]).all():
                    self.grids.append((side, index.reshape(note.w.T.shape).T))
                    rest[index] = False
        self.rest = np.flatnonzero(rest)

    def _learn(self, factors: Factors, nodes: Sequence[Value]) -> None:
        """Take over what those of one sample know about the nodes."""
        size = len(self.arrays.home)
        self.whats, self.others = np.full(size, CONSTANTS), np.full(size, CONSTANTS)
        self.loss, self.several = np.zeros(size, bool), np.zeros(size, bool)
        self.samples, self.ceilings = np.full(size, NONE), np.zeros(size)
        leaves, weights, index = self.tape.leaves, factors.weights, factors.index
        kinds = [CODE["weights" if x in weights else "inputs"] for x in nodes[:leaves]]
        self.whats[:leaves] = kinds
        self.whats[leaves : len(nodes)] = CODE["activations"]
        places = np.array([index.get(x, NONE) for x in nodes])
        samples = np.array(factors.samples)
        self.samples[: len(nodes)] = np.where(places == NONE, NONE, samples[places])
        self.several[:leaves] = (places != NONE)[:leaves] & (self.samples[:leaves] < 0)
        self.several &= factors.several
        for i, x in enumerate(nodes[leaves:], leaves):
            self.loss[i] = x in factors.loss
            self.ceilings[i], rule = factors.ceiling(x), x.rule
            if rule and rule.kind != "product":
                self.others[i] = CODE[[*factors.kinds(x), "constants"][0]]
            if rule and rule.kind == "singular" and rule.regular:
                self.others[i] = CODE["singular op"]

    def _placed(self, kinds: Any, heads: Ids) -> Any:
        """Kinds of factors of edges into these nodes, in their layers, or of the loss."""
        return np.where(self.loss[heads], LOSS, kinds + len(KINDS) * self.levels[heads])

    def samples_of(self, side: Side, edges: Ids | None) -> Any:
        """By edge from a leaf that samples share, which of these it leads into; None if none do."""
        several, samples = self.several[side.tails], self.samples[side.heads]
        found = np.where(several, samples, NONE) if several.any() else None
        return found if found is None or edges is None else found[edges]

    def _enter(self, side: Side) -> None:
        """Note a side down with every array that its edges lead from."""
        homes = self.home[side.tails]
        for h in np.flatnonzero(np.bincount(homes[homes >= 0])).tolist():
            mine = np.flatnonzero(homes == h)
            index = self.index[side.tails[mine]]
            edges = None if len(mine) == len(homes) else mine
            self.sides.setdefault(h, []).append((side, edges, index))
            name = side.note.array.name
            self.reads.setdefault(name, {})[self.arrays.all[h].name] = None

    def _sides_of_op(self, note: Op) -> Iterator[Side]:
        ids, rule = note.array.ids.ravel(), note.rule
        for k, name in enumerate(rule.operands):
            block = note.blocks[k]
            members = range(len(block)) if name in rule.lists else (None,)
            for j in members if name not in rule.silent else ():
                tails, kinds = _member(block, j), self.others[ids]
                if rule.kind == "product" and k < 2:
                    kinds = self._pair_kinds(tails, _member(note.blocks[1 - k], j))
                yield Side(note, tails, ids, self._placed(kinds, ids), (k, j))

    def _sides_of(self, note: Terms) -> Iterator[Side]:
        if note.x is None:
            yield self._side_of_terms(note, note.w.ravel(), None)
            return
        w, x = note.w, note.x
        if note.product:  # (terms, rows, columns)
            w, x = np.broadcast_arrays(w.T[:, :, None], x.T[:, None, :])
        yield self._side_of_terms(note, w.ravel(), x.ravel())
        side = self._side_of_terms(note, x.ravel(), w.ravel())
        if note.product and (side.kinds == side.kinds[0]).all():
            tails, heads = side.tails.reshape(x.shape), side.heads.reshape(x.shape)
            samples = self.samples[heads]
            if not self.several[tails].any() or (samples == samples[:, :1]).all():
                tails, heads = tails[:, 0].ravel(), heads[:, 0].ravel()
                side = side._replace(tails=tails, heads=heads, whole=True)
        yield side

    def _side_of_terms(self, note: Terms, own: Ids, partner: Ids | None) -> Side:
        """The edges from `own`, which the partner is multiplied with."""
        heads = np.resize(note.array.ids.ravel(), len(own))
        for e in np.flatnonzero(np.isin(heads, [*self._mixed])).tolist():
            term = int(own[e]), NONE if partner is None else int(partner[e])
            heads[e] = self._mixed[int(heads[e])][term]
        kinds = np.full(len(own), CONSTANTS)
        if partner is not None:
            kinds = self._pair_kinds(own, partner)
        return Side(note, own, heads, self._placed(kinds, heads), partner)

    def _pair_kinds(self, own: Ids, partner: Ids) -> Ids:
        """The kinds of partners as factors, as `Paths.kinds` has them."""
        kinds, weights = self.whats[partner], self.whats[own] == CODE["weights"]
        return np.where((kinds == CONSTANTS) & weights, CODE["inputs"], kinds)


def _member(block: Ids, j: int | None) -> Ids:
    return (block if j is None else block[j]).ravel()


def _readers_of(tape: Tape, i: int, one: Sum) -> dict[tuple[int, int], int]:
    """By term of a sum, from either factor, the node that reads it."""
    found, inside = {}, {*one.absorbed}
    for m in (*one.absorbed, i):
        read = [j for j in tape.operands(m) if j not in inside]
        if m in inside and tape.rules[m] is rules.mul:
            found[read[0], read[-1]] = found[read[-1], read[0]] = m
        else:
            found.update({(j, NONE): m for j in read})
    return found
