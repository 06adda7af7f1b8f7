"""The lines of a net from neuron to neuron: what they carry, or their share of all paths."""

from __future__ import annotations

import math
from collections.abc import Iterable

from microgradx.engine import Edge, Value
from microgradx.explain.layers import carried, edges_of
from microgradx.explain.samples import Input, Layer, Net, Neuron
from microgradx.pictures.sheet import Shares
from microgradx.pictures.style import FAINT, PAPER, SHARES, Look

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
        return {line: _attributes(shares.line(edges.get(line, []))) for line in sizes}
    tops: dict[Layer | None, float] = {}
    for (_, neuron), size in sizes.items():
        if size < math.inf:
            key = neuron.layer if by_layer else None
            tops[key] = max(size, tops.get(key, 0.0))
    return {
        line: line_look(size, tops.get(line[1].layer if by_layer else None, 0.0))
        for line, size in sizes.items()
    }


def share_looks(lines: Iterable[str], shares: Shares | None) -> list[Look]:
    """The meanings of the lines that are drawn, for a legend; none where no shares are drawn."""
    if shares is None:
        return []
    inks = {ink for ink, _ in SHARES[:-1] if any(f'color="{ink}"' in line for line in lines)}
    inks |= {SHARES[-1][0]} if any(shares.share.values()) else set()
    return [Look(PAPER, word, ink) for ink, word in SHARES if ink in inks]


def shares_through(net: Net, shares: Shares | None) -> dict[Neuron, str]:
    """By neuron that is drawn behind others, how much of all paths goes through it, in words."""
    found: dict[Neuron, dict[Edge, None]] = {}
    for (_, neuron), edges in edges_of(net).items() if shares else ():
        found.setdefault(neuron, {}).update(dict.fromkeys(edges))
    parts = {neuron: shares.together([*edges]) for neuron, edges in found.items() if shares}
    return {neuron: f"{part:.0%} of paths" for neuron, part in parts.items() if part >= 0.005}


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
