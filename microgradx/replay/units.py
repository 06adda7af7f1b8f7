"""The units of a recorded net: which nodes are activations, of which layer and number, at which z.

A unit is a neuron with its activation at all its positions: those of an image, or of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from microgradx._base.text import element, names_parameter
from microgradx.engine import Value
from microgradx.explain.factors import factor_pairs, is_closed, is_open, layers, shut_from
from microgradx.explain.samples import role_of
from microgradx.replay.tape import Tape
from microgradx.replay.views import Ids

Key = tuple[str, str]  # a layer and the number of a unit

MOST = 2_000  # nodes below z that its parameters are looked for among
DEEP = 4  # nodes below z that a product is looked for
MEDIAN = 0.5  # of the rows: where as many are saturated, so is the median row


def is_unit(x: Value) -> bool:
    """Whether a node is an activation: of one number, and flat where that is too small or large."""
    rule = x.rule
    if rule is None or len(x.inputs) != 1 or rule.silent or rule.lists:
        return False
    return rule.kind in ("saturating", "gate")


def flat_below(node: Value) -> float:
    """The slope below which a unit is called saturated; 0 for a gate that is open on a side."""
    rule = node.rule
    if rule is None or (rule.kind == "gate" and not is_closed(node)):
        return 0.0
    return shut_from(rule)


def flat_share(node: Value) -> float:
    """The share of the rows in which a unit is flat that is called saturated.

    What is flat on one side alone is meant to be so in many rows, as a ReLU is off.
    """
    return 1.0 if is_open(node) else MEDIAN


def self_gated(nodes: Iterable[Value]) -> set[Value]:
    """The activations that weigh their own z, as the sigmoid of a SiLU: no units of their own."""
    found: set[Value] = set()
    for node in nodes:
        if node.rule is None or node.rule.lists:
            continue
        for pair in factor_pairs(node):
            for gate, z in (pair, pair[::-1]):
                chain: list[Value] = []
                while isinstance(gate, Value) and is_unit(gate):
                    chain.append(gate)
                    gate = gate.inputs[0]
                    if gate is z:
                        found.update(chain)
    return found


def units_in(
    nodes: Sequence[Value], layer_of: Callable[[Value], str]
) -> dict[tuple[Key, str], list[Value]]:
    """The units among all nodes of a recorded net, without those that weigh their own z."""
    gated = self_gated(nodes)
    return units_of((x for x in nodes if x not in gated), layer_of)


def units_of(
    nodes: Iterable[Value], layer_of: Callable[[Value], str]
) -> dict[tuple[Key, str], list[Value]]:
    """By layer and number, and the op, the nodes of each unit, of all that are activations.

    nodes: each after those that it reads; so are the layers, and in a layer the units by number
    Those without a label are called by their op, in the layer of what reads them. Their numbers are
    those of their rows of weights, so that the steps of a recurrent net are one.
    """
    found: dict[tuple[Key, str], list[Value]] = {}
    bare: dict[tuple[str, str], list[Value]] = {}
    for x in nodes:
        if is_unit(x):
            path, index, role = role_of(x.label)
            if role == "y":
                found.setdefault(((path, index.rpartition(",")[2]), x.op), []).append(x)
            else:
                bare.setdefault((f"{layer_of(x)} {x.op}".strip(), x.op), []).append(x)
    for (layer, op), of in bare.items():
        for x, number in zip(of, _numbers(of)):
            found.setdefault(((layer, number), op), []).append(x)
    layers = {layer: k for k, layer in enumerate(dict.fromkeys(layer for (layer, _), _ in found))}
    turn = sorted(found, key=lambda of: (layers[of[0][0]], len(of[0][1]), of[0][1]))
    return {unit: found[unit] for unit in turn}


def _numbers(units: Sequence[Value]) -> list[str]:
    """The numbers of a layer's units: the index that all the elements of a tensor share which one
    of them reads, and others not; else their places."""
    read: list[dict[tuple[str, int], int]] = []
    for x in units:
        shared: dict[tuple[str, int], int] = {}
        for name, indices in _own_elements(x.inputs[0]).items():
            for axis, places in enumerate(zip(*indices)):
                if len({*places}) == 1:
                    shared[name, axis] = places[0]
        read.append(shared)
    axes = {key: len({one.get(key) for one in read}) for one in read for key in one}
    best = max(axes, key=lambda key: axes[key], default=None)
    if best is None or axes[best] < 2 <= len(units) or not all(best in one for one in read):
        return [str(k) for k in range(len(units))]
    return [str(one[best]) for one in read]


def _own_elements(z: Value) -> dict[str, list[tuple[int, ...]]]:
    """By tensor the places of the parameters that z is a sum of, alone or times something; where
    there are none, by layer those of the units."""
    units: dict[str, list[tuple[int, ...]]] = {}
    found: dict[str, list[tuple[int, ...]]] = {}
    stack, seen = [z], {z}
    while stack and len(seen) < MOST:
        for x in stack.pop().inputs:
            name, place = element(x.label)
            if x.rule is None and place and names_parameter(x.label):
                found.setdefault(name, []).append(place)
            elif x.rule is None:
                continue
            elif (role := role_of(x.label)).role in ("y", "z") and role.neuron:
                units.setdefault(role.path, []).append(tuple(map(int, role.neuron.split(","))))
            elif x not in seen and x.rule.kind in ("linear", "product"):
                seen.add(x)
                stack.append(x)
    return found or units


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
