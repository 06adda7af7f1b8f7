"""The units of a net: off, dead, proved dead, locked or revivable, saturated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from microgradx._base.text import element
from microgradx.diagnosis.blocks import Blocks
from microgradx.diagnosis.box import AFFINE, Box, top
from microgradx.diagnosis.linear_bounds import Bounded
from microgradx.diagnosis.locks import Motion
from microgradx.diagnosis.survey import Survey
from microgradx.diagnosis.table import Table
from microgradx.engine import Value
from microgradx.explain.factors import read_by
from microgradx.replay.batch import Array
from microgradx.replay.units import flat_share, products

NEAREST = 3  # tensors that are named
MOST = 4_000  # units and inputs of a net in which deep ones are proved


def shares(survey: Survey) -> Array:
    """By unit the share of the rows in which it is flat where it is called saturated."""
    return np.array([flat_share(nodes[0]) for nodes in survey.units.nodes])


class Proof(NamedTuple):
    """What the box says of a unit that is dead on the data.

    verdict: "proved", "refuted" or "unknown"
    witness: the inputs at which it is on, where it is refuted
    """

    verdict: str
    witness: Array | None = None


class Verdicts:
    """What every unit is, in arrays by unit.

    dead:   a gate whose slope is 0 in every row, at every position
    saturated: the slope of the median row is below 1 % of its largest, and it isn't dead; of an
               op that has no end on one side, as gelu, that of every row
    margins: by how much z misses 0 where a ReLU is dead, else nan
    proofs: by unit that is dead by z ≤ 0
    locked: of those that are dead, whether no parameter behind z can ever have a gradient
    through: of those that are not locked, the nearest tensors that have one, by layer
    late:   those of which none has one yet: it comes as others have moved
    """

    def __init__(self, survey: Survey, box: Box) -> None:
        units = survey.units
        rules = [nodes[0].rule for nodes in units.nodes]
        gates = np.array([rule is not None and rule.kind == "gate" for rule in rules], bool)
        several = len(survey.losses) > 1  # nothing is judged from one row
        self.dead: Any = gates & (units.seen > 0) & (units.off == units.seen) & several
        self.saturated = several & ~self.dead & (units.saturated >= shares(survey) * units.seen)
        self.margins = np.full(len(units.keys), np.nan)
        self.proofs: dict[int, Proof] = {}
        self.locked: dict[int, bool] = {}
        self.through: dict[int, list[str]] = {}
        self.late: set[int] = set()
        dead = np.flatnonzero(self.dead).tolist()
        if dead:
            self._prove(survey, box, dead)
            self._lock(survey, dead)

    def _prove(self, survey: Survey, box: Box, dead: list[int]) -> None:
        units, inputs = survey.units, survey.inputs
        kinds = survey.kinds
        deep: dict[int, list[Value]] = {}
        for u in dead:
            rule = units.nodes[u][0].rule
            if rule is None or rule.shut_below is None:
                continue
            self.margins[u] = rule.shut_below - units.most[u]
            zs = [x.inputs[0] for x in units.nodes[u]]
            if all(kinds.get(z) == AFFINE for z in zs):
                self.proofs[u] = _proof(zs, inputs, box, rule.shut_below)
            else:
                deep[u] = zs
        if deep:
            self.proofs.update(_deep_proofs(survey, box, deep))

    def _lock(self, survey: Survey, dead: list[int]) -> None:
        """Follow the parameters that can ever have a gradient to all that they move."""
        motion = Motion(survey)
        free: dict[str, list[int]] = {}
        for u in dead:
            zs = [x.inputs[0] for x in survey.units.nodes[u]]
            self.locked[u] = not any(z in motion.alive for z in zs)
            if not self.locked[u]:
                free.setdefault(survey.units.keys[u][0], []).append(u)
        for units in free.values():  # what one of a layer reads, so do the others, as a rule
            zs = [x.inputs[0] for u in units for x in survey.units.nodes[u]]
            now = _nearest(zs, motion.moves, motion.alive)
            self.late.update(() if now else units)
            names = now or _nearest(zs, motion.ever - _own(zs), motion.alive)
            self.through.update(dict.fromkeys(units, names))


def _proof(zs: Sequence[Value], inputs: Sequence[Value], box: Box, shut: float) -> Proof:
    """A unit is dead if it is at every position; one corner where it is on refutes that."""
    tops = [top(z, inputs, box) for z in zs]
    highest = max(tops, key=lambda found: found.bound)
    if highest.bound <= shut:
        return Proof("proved")
    on = highest.bound - highest.error > shut
    return Proof("refuted", highest.corner) if on else Proof("unknown")


def _deep_proofs(survey: Survey, box: Box, deep: dict[int, list[Value]]) -> dict[int, Proof]:
    """Of units behind other ones: by linear bounds; refuted where a corner turns them on."""
    found = {u: Proof("unknown") for u in deep}
    targets = [z for zs in deep.values() for z in zs]
    net = Blocks(survey.replay.nodes, survey.inputs, targets)
    if net.size > MOST:
        return found
    bounded = Bounded(net, box.low.ravel(), box.high.ravel())
    points = np.clip(bounded.corners.high, box.low.ravel(), box.high.ravel())
    points = points.reshape(len(points), *box.low.shape)
    values = survey.values_at(points, targets)
    at = 0
    for u, zs in deep.items():
        mine = slice(at, at + len(zs))
        at += len(zs)
        rule = survey.units.nodes[u][0].rule
        shut = rule.shut_below if rule is not None and rule.shut_below is not None else 0.0
        on = values[mine] > shut
        if (bounded.targets.high[mine] <= shut).all():
            found[u] = Proof("proved")
        elif on.any():
            found[u] = Proof("refuted", points[int(on.any(axis=0).argmax())])
    return found


def _own(zs: Iterable[Value]) -> set[Value]:
    """The parameters of the units themselves: they get a gradient when these are on."""
    leaves = {x for z in zs for x in z.inputs if x.rule is None}
    return leaves | {p for z in zs for weights, _ in products(z) for p in weights}


def _nearest(zs: Iterable[Value], moves: set[Value], alive: set[Value]) -> list[str]:
    """The tensors of the nearest parameters behind z that have a gradient."""
    found: dict[str, None] = {}
    level, seen = [*zs], {*zs}
    while level and len(found) < NEAREST:
        below = [x for node in level for x in read_by(node) if x in alive and x not in seen]
        level = [*dict.fromkeys(below)]
        seen.update(level)
        found |= dict.fromkeys(element(x.label)[0] or "a leaf" for x in level if x in moves)
    return [*found][:NEAREST]


def table_of(survey: Survey, verdicts: Verdicts) -> Table:
    """The units as columns."""
    units = survey.units
    n = range(len(units.keys))
    seen = np.maximum(units.seen, 1)
    names = np.where(verdicts.dead, "dead", np.where(verdicts.saturated, "saturated", ""))
    columns: dict[str, Any] = {
        "layer": [layer for layer, _ in units.keys],
        "neuron": [int(k) if k.isdigit() else k for _, k in units.keys],
        "activation": units.ops,
        "verdict": names.tolist(),
        "off": (units.off / seen).tolist(),
        "saturated": (units.saturated / seen).tolist(),
        "mean": units.mean.tolist(),
        "spread": units.spread.tolist(),
        "least_z": units.least.tolist(),
        "most_z": units.most.tolist(),
        "proof": [verdicts.proofs[u].verdict if u in verdicts.proofs else "" for u in n],
        "margin": verdicts.margins.tolist(),
        "locked": [verdicts.locked.get(u) for u in n],
        "through": [", ".join(verdicts.through.get(u, [])) for u in n],
    }
    return Table(columns)
