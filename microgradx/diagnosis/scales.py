"""The tensors of weights of a net, and their scale beside that of an initialiser."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from microgradx._base import floats
from microgradx._base.text import element
from microgradx.diagnosis.box import ends
from microgradx.diagnosis.survey import Survey
from microgradx.engine import Value
from microgradx.explain.factors import takes_one
from microgradx.explain.samples import role_of
from microgradx.replay.units import products
from microgradx.rules import Rule

HE, GLOROT = "He's scale", "Glorot's scale"


class Tensor(NamedTuple):
    """A tensor of weights that the units of a layer are products of.

    name, layer: its own and the layer's
    activation:  that comes after, "" for none
    fan_in:      how many inputs a unit reads
    size:        the root of the mean of its weights' squares, usual: that an initialiser gives
    whose:       which initialiser's
    rows:        by unit, the weights of its
    reads:       the nodes that they are multiplied with
    readers:     how often each of those is, as a mean
    grows:       whether what comes after has no upper end, so that large weights make it large
    """

    name: str
    layer: str
    activation: str
    fan_in: int
    size: float
    usual: float
    whose: str
    rows: dict[str, list[Value]]
    reads: list[Value]
    readers: float
    grows: bool

    @property
    def ratio(self) -> float:
        """How many times the usual size it is."""
        return self.size / self.usual


def tensors_of(survey: Survey) -> list[Tensor]:
    """The tensors of weights, layer by layer, as far as products of labelled units tell."""
    activations = {key: nodes[0].rule for key, nodes in zip(survey.units.keys, survey.units.nodes)}
    found: dict[tuple[str, str], dict[str, list[Value]]] = {}
    read: dict[tuple[str, str], Counter[Value]] = {}
    leaves = {*survey.replay.parameters}
    last = {role_of(y.label).path for y in survey.outputs}
    for node in survey.zs:
        layer, index, _ = role_of(node.label)
        unit = index.rpartition(",")[2]
        for weights, xs in products(node):
            if weights[0] in leaves and not _is_gain(weights):
                key = element(weights[0].label)[0], layer
                found.setdefault(key, {}).setdefault(unit, weights)
                read.setdefault(key, Counter()).update(x for x in xs if isinstance(x, Value))
    result = []
    for (name, layer), rows in found.items():
        numbers = np.array([p.data for row in rows.values() for p in row])
        activation = activations.get((layer, next(iter(rows)))) if layer not in last else None
        fan_in = len(next(iter(rows.values())))
        usual, whose = _usual(activation, fan_in, len(rows))
        size = math.hypot(*numbers.tolist()) / math.sqrt(len(numbers))
        result.append(
            Tensor(
                name,
                layer,
                activation.name if activation else "",
                fan_in,
                size,
                usual,
                whose,
                rows,
                [*read[name, layer]],
                read[name, layer].total() / max(len(read[name, layer]), 1),
                activation is None or not takes_one(activation) or ends(activation)[1] == math.inf,
            )
        )
    return result


def _is_gain(weights: list[Value]) -> bool:
    """Whether it is one number of a vector, as a norm's gain is: no sum over what a unit reads."""
    return len(weights) == 1 and len(element(weights[0].label)[1]) == 1


def _usual(rule: Rule | None, fan_in: int, units: int) -> tuple[float, str]:
    """The size that an initialiser gives, and whose: He's before what has no upper end, else
    Glorot's, over the activation's slope at 0.

    rule: of the activation that comes after, None after the last layer
    """
    glorot = math.sqrt(2.0 / (fan_in + units))
    if rule is None or not takes_one(rule):
        return glorot, GLOROT
    if ends(rule)[1] == math.inf:
        return math.sqrt(2.0 / fan_in), HE
    slope = abs(rule.function(floats, 0.0)[1])
    if slope in (0.0, 1.0):
        return glorot, GLOROT
    return glorot / slope, f"{GLOROT} for a {rule.name}"
