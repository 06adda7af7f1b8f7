"""The lines of a net from neuron to neuron: what they carry, or their share of all paths."""

from __future__ import annotations

import math

from microgradx.engine import Value
from microgradx.explain.layers import carried, edges_of
from microgradx.explain.samples import Input, Net, Neuron
from microgradx.pictures.sheet import Shares
from microgradx.pictures.style import FAINT

Source = Neuron | Input


def line_looks(
    net: Net, shares: Shares | None, by_layer: bool = False
) -> dict[tuple[Source, Neuron], str]:
    """The looks of the lines: as wide as the gradient that they carry, or by shares of paths.

    by_layer: the widest line of each layer is as wide as that of any other
    """
    sizes = carried(net)
    if shares:
        edges = edges_of(net)
        looks = {line: shares.line(edges.get(line, [])) for line in sizes}
        return {line: _attributes(look) for line, look in looks.items()}
    tops: dict[object, float] = {}
    for (_, neuron), size in sizes.items():
        if size < math.inf:
            key = neuron.layer if by_layer else None
            tops[key] = max(size, tops.get(key, 0.0))
    return {
        line: line_look(size, tops.get(line[1].layer if by_layer else None, 0.0))
        for line, size in sizes.items()
    }


def _attributes(look: dict[str, str]) -> str:
    return " ".join(f'{name}="{x}"' for name, x in look.items() if not name.startswith("font"))


def neuron_with(net: Net, node: Value) -> Neuron | None:
    """The neuron that a node lies in, or whose parameter it is."""
    owners = (neuron for neuron in net.neurons if node in neuron.parameters)
    return net.neuron_of(node) or next(owners, None)


def line_look(size: float, top: float) -> str:
    """The look of a line that carries so much, where the most is `top`; dashed for nothing."""
    if not size:
        return f'penwidth="0.8" color="{FAINT}" style="dashed"'
    return f'penwidth="{0.6 + 3 * min(size / top, 1.0) if top else 0.6:.2f}"'
