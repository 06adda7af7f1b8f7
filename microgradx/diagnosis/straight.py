"""Layers that follow each other without an activation between them: together they are one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from microgradx import rules
from microgradx.diagnosis.scales import Tensor
from microgradx.diagnosis.survey import Survey
from microgradx.engine import Value
from microgradx.explain.factors import factor_pairs, read_by
from microgradx.explain.samples import role_of
from microgradx.replay.units import products

BENT = ""  # in place of a layer: what is not made of one layer's units by sums and constants


class Pair(NamedTuple):
    """Two layers with nothing between them that bends.

    own: how many weights they have, one: how many the layer that they amount to would have
    """

    first: str
    second: str
    own: int
    one: int


def pairs_of(survey: Survey, tensors: Sequence[Tensor]) -> Iterator[Pair]:
    """Each layer that reads another one's units alone, which nothing else reads."""
    bent = {*survey.inputs, *(x for nodes in survey.units.nodes for x in nodes)}
    if all(x in bent for t in tensors for x in t.reads):
        return
    straight = _Straight(survey, {t.layer for t in tensors})
    for second in tensors:
        layers = {straight.made_of.get(x, BENT) for x in second.reads}
        first = layers.pop() if len(layers) == 1 else BENT
        if first not in (BENT, second.layer) and straight.readers[first] == {second.layer}:
            own = sum(
                len(row) for t in tensors if t.layer in (first, second.layer)
                for row in t.rows.values()
            )  # fmt: skip
            yield Pair(first, second.layer, own, straight.width(second.layer))


class _Straight:
    """Of which layer a node is made, by sums and constant factors; and what reads each layer."""

    def __init__(self, survey: Survey, layers: set[str]) -> None:
        self._zs = {z: role_of(z.label).path for z in survey.zs}
        self._zs = {z: path for z, path in self._zs.items() if path in layers}
        self.made_of: dict[Value, str] = dict.fromkeys(survey.inputs, BENT)
        self.readers: dict[str, set[str]] = {path: set() for path in layers}
        for node in survey.replay.nodes:
            found = {self.made_of[x] for x in read_by(node) if x in self.made_of}
            if not found and node not in self._zs:
                continue
            kept = found.pop() if len(found) == 1 and _is_straight(node, self.made_of) else BENT
            self.made_of[node] = self._zs.get(node, kept)
            if node in self._zs or kept == BENT:
                for x in read_by(node):
                    if self.made_of.get(x, BENT) != BENT:
                        self.readers[self.made_of[x]].add(self._zs.get(node, BENT))
        for y in survey.outputs:
            if self.made_of.get(y, BENT) != BENT:
                self.readers[self.made_of[y]].add(BENT)

    def width(self, layer: str) -> int:
        """How many weights a layer would have that reads what the one before it does."""
        first = {role_of(z.label).neuron.rpartition(",")[2]: z
                 for z in reversed(self._zs) if self._zs[z] == layer}  # fmt: skip
        return sum(len(self._behind(z)) for z in first.values())

    def _behind(self, z: Value) -> set[Value]:
        """What the units of the layer before read that z reads."""
        found: set[Value] = set()
        level = {x for _, xs in products(z) for x in xs if isinstance(x, Value)}
        while level:
            for y in [x for x in level if x in self._zs]:
                found.update(x for _, xs in products(y) for x in xs if isinstance(x, Value))
            level = {x for node in level if node not in self._zs for x in node.inputs
                     if x in self.made_of}  # fmt: skip
        return found


def _is_straight(node: Value, made_of: dict[Value, str]) -> bool:
    rule = node.rule
    if rule is None:
        return False
    if rule.kind == "product":
        return not any(x in made_of and y in made_of for x, y in factor_pairs(node))
    return rule.kind == "linear" or (rule is rules.div and node.inputs[-1] not in made_of)
