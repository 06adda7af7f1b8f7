"""The names of the neurons of one pass: `path[k]`, and `path[k].z` before its activation."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from microgradx._base.text import element
from microgradx.engine import Value
from microgradx.interop.tensors import Array

WEIGHT = re.compile(r"((?P<path>.+)\.)?(\w+_)?weight(_\w+)?")


def path_of(*parameters: Any) -> str | None:
    """The layer that parameters belong to, by the first one's label: `0` for `0.weight[0,0]`.

    None where they are computed, or called otherwise.
    """
    for array in parameters:
        first = array.flat[0] if isinstance(array, np.ndarray) and array.size else None
        if isinstance(first, Value) and first.rule is None:
            match = WEIGHT.fullmatch(element(first.label)[0])
            return (match["path"] or "") if match else None
    return None


class Labels:
    """The neurons that a pass has made so far; their labels are written when it ends.

    At several positions a neuron is `path[t,k]`, where the unit comes last; so it is where the
    layer is called several times in a pass, as in a loop over time. Else positions would be read
    as samples.
    """

    def __init__(self) -> None:
        self._calls: dict[str, list[dict[str, list[Value]]]] = {}  # by path and index: y, or z, y
        self._neurons: dict[Value, list[Value]] = {}

    def outputs(self, path: str | None, found: Array, axis: int = -1) -> None:
        """Note the outputs of a layer, whose units lie along an axis; the first is the batch."""
        if path is None or not found.ndim:
            return
        units = np.moveaxis(found, axis, -1)
        made: dict[str, list[Value]] = {}
        for place in np.ndindex(units.shape):
            node = units[place]
            if isinstance(node, Value) and node.rule and node not in self._neurons:
                index = place[1:] if len(place) > 1 and len(units) == 1 else place
                made[",".join(map(str, index))] = self._neurons[node] = [node]
        self._calls.setdefault(path, []).append(made)

    def activated(self, zs: Any, ys: Array) -> None:
        """Note that ys are an activation of zs, element by element."""
        for z, y in zip(np.ravel(zs), np.ravel(ys)):
            neuron = self._neurons.get(z) if isinstance(z, Value) else None
            if neuron is not None and len(neuron) == 1 and y is not z:
                neuron.append(y)

    def write(self) -> None:
        """Label all that was noted."""
        for path, calls in self._calls.items():
            for t, made in enumerate(calls):
                before = f"{t}," if len(calls) > 1 else ""
                for index, (z, *y) in made.items():
                    name = f"{path}[{before}{index}]"
                    if y:
                        y[0].label = name
                    z.label = f"{name}.z" if y else name
