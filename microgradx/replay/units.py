"""The units of a recorded net: which nodes are activations, of which layer and number, at which z.

A unit is a neuron with its activation at all its positions: those of an image, or of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from microgradx._base.text import element
from microgradx.engine import Value
from microgradx.explain.factors import is_open, layers
from microgradx.explain.samples import role_of
from microgradx.replay.tape import Tape
from microgradx.replay.views import Ids
from microgradx.rules import Rule

Key = tuple[str, str]  # a layer and the number of a unit

DEEP = 4  # nodes below z that a product is looked for
MEDIAN = 0.5  # of the rows: where as many are saturated, so is the median row


def is_unit(x: Value) -> bool:
    """Whether a node is an activation: of one number, and flat where that is too small or large."""
    rule = x.rule
    if rule is None or len(x.inputs) != 1 or rule.silent or rule.lists:
        return False
    return rule.kind in ("saturating", "gate")


def flat_share(rule: Rule | None) -> float:
    """The share of the rows in which a unit is flat that is called saturated.

    What is flat on one side alone is meant to be so in many rows, as a ReLU is off.
    """
    return 1.0 if rule and is_open(rule) else MEDIAN


def units_of(
    nodes: Iterable[Value], layer_of: Callable[[Value], str]
) -> dict[tuple[Key, str], list[Value]]:
    """By layer and number, and the op, the nodes of each unit, of all that are activations.

    Those without a label are called by their op, in the layer of what reads them. Their numbers are
    those of their rows of weights, so that the steps of a recurrent net are one.
    """
    found: dict[tuple[Key, str], list[Value]] = {}
    bare: list[Value] = []
    for x in nodes:
        if is_unit(x):
            path, index, role = role_of(x.label)
            if role == "y":
                found.setdefault(((path, index.rpartition(",")[2]), x.op), []).append(x)
            else:
                bare.append(x)
    numbers: dict[str, int] = {}
    for x in bare:
        layer = f"{layer_of(x)} {x.op}".strip()
        product = next(products(x.inputs[0]), None)
        row = element(product[0][0].label)[1] if product else ()
        if not row:
            numbers[layer] = numbers.get(layer, -1) + 1
            row = (numbers[layer],)
        found.setdefault(((layer, str(row[0])), x.op), []).append(x)
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


def layers_by_reader(tape: Tape, nodes: Sequence[Value]) -> tuple[list[str], Ids]:
    """The names of the layers, the first "", and by id the number of each node's among them.

    A node that is not labelled as part of a layer has that of what reads it.
    """
    own = layers([*nodes])
    names = ["", *dict.fromkeys(name for name in own if name)]
    number = {name: k for k, name in enumerate(names)}
    levels = np.zeros(len(nodes), dtype=np.int64)
    arrays: dict[int, Ids] = {}  # of the rows, which many read
    for i in range(len(nodes) - 1, tape.leaves - 1, -1):
        if own[i]:
            levels[i] = number[own[i]]
        if levels[i]:
            for row in (*tape.rows[i], tape.args[i]):
                if id(row) not in arrays:
                    ids = np.array(row, dtype=np.int64)
                    arrays[id(row)] = ids[ids < len(nodes)]
                ids = arrays[id(row)]
                levels[ids[levels[ids] == 0]] = levels[i]
    return names, levels
