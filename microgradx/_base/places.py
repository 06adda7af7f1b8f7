"""Where a node belongs, by its label: its layer and neuron, and whether it is a parameter."""

from __future__ import annotations

import re

Place = tuple[str, str]  # layer and neuron, each "" where a node has none

# `layers.0[2]`, `layers.0[2].z`, `layers.0.weight[2,1]`, `layers.0.bias[2]`
PLACE = re.compile(r"(?P<layer>.+?)(\.weight|\.bias)?\[(?P<neuron>\d+)(,\d+)*\](\.z)?")
# `layers.0.weight[2,1]`, `bias[0]`, `weight`, and on a blackboard `w`, `w1`, `W_2`, `b`
PARAMETER = re.compile(r"(.+\.)?(weight|bias|[wWbB])_?\d*(\[\d+(,\d+)*\])?")


# `layers.0.weight[2,1]`
ELEMENT = re.compile(r"(?P<path>.+?)(\[(?P<index>\d+(,\d+)*)\])?")


def element(label: str) -> tuple[str, tuple[int, ...]]:
    """The tensor that a parameter's label names, and the place in it; "" for no label."""
    match = ELEMENT.fullmatch(label)
    if match is None:
        return "", ()
    return match["path"], tuple(map(int, match["index"].split(","))) if match["index"] else ()


def place(label: str) -> Place:
    """The layer and the neuron that a label names."""
    match = PLACE.fullmatch(label) if label else None
    return (match["layer"], match["neuron"]) if match else ("", "")


def common_place(one: Place, other: Place) -> Place:
    """The innermost place that holds both."""
    if one[0] != other[0]:
        return ("", "")
    return one if one == other else (one[0], "")


def names_parameter(label: str) -> bool:
    """Whether a label is that of a weight or a bias."""
    return PARAMETER.fullmatch(label) is not None
