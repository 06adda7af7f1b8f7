"""The picture of a net on the page: which cell is about which nodes.

The page writes into the cells as its script goes from moment to moment, and anew when a leaf is
changed. The picture is that of a twin of the graph, so that no `.grad` of the reader's is touched.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from microgradx.engine import Value, order, with_cut_off
from microgradx.explain.factors import shut_from
from microgradx.explain.layers import Survey, bare_inputs
from microgradx.explain.samples import Input, Layer, Net, Neuron, Turn, net_of
from microgradx.pictures.answer import answer, is_gate
from microgradx.pictures.cells import Cells
from microgradx.pictures.diagram import Arrow, Box
from microgradx.pictures.markup import untagged
from microgradx.pictures.net import dot, form_of
from microgradx.pictures.rows import BOUNDS
from microgradx.pictures.style import ORANGES, STOP
from microgradx.step.colours import LOOKS
from microgradx.step.live import Live


def twin_net(output: Value) -> Net | None:
    """The net behind a twin of `output`, swept; None where there is no net."""
    if net_of(output) is None:
        return None
    twin = copy.deepcopy(output)
    for node in order(twin):
        node.grad = 0.0
    twin.backward()
    return net_of(twin)


class Places:
    """The places of a net's nodes in its picture.

    source: the picture in DOT
    scale:  of its blues
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        nodes = with_cut_off(net.output)
        self._index = {node: i for i, node in enumerate(nodes)}
        self._neurons = {neuron: i for i, neuron in enumerate(net.neurons)}
        self._layers = {layer: i for i, layer in enumerate(net.layers)}
        self._turns = [turn for neuron in net.neurons for turn in neuron.turns.values()]
        self._turn = {turn.y: t for t, turn in enumerate(self._turns)}
        self._owners = self._find_owners()
        self._cells: list[tuple[str, list[Value], list[Any]]] = []  # kind, nodes, numbers
        self._cell_of: dict[Neuron, str] = {}
        survey = Survey(net)
        found = answer(survey)
        self._answer = found.title
        self._form = form_of(survey, tag=self._tag, found=found)
        self.source = dot(self._form, self._form.body())
        self._form.tag = untagged  # no cycle is left
        self.scale = self._form.scale

    def _find_owners(self) -> dict[Value, Neuron | Input | Layer]:
        """To whom a node belongs; the nodes of the loss to nobody."""
        net = self.net
        owners: dict[Value, Neuron | Input | Layer] = {}
        for layer in net.layers:
            owners.update(dict.fromkeys(layer.glue, layer))
        for neuron in net.neurons:
            owners.update(dict.fromkeys(neuron.parameters, neuron))
        for given in net.inputs:
            owners.update({x: given for x in given.numbers.values() if isinstance(x, Value)})
        for node in net.nodes:
            neuron_ = net.neuron_of(node)
            if neuron_:
                owners[node] = neuron_
        return owners

    # --- the cells ------------------------------------------------------------------------------

    def _tag(self, kind: str, *about: Any) -> dict[str, str]:
        """A name for a cell; Graphviz writes it into its SVG where there is a link too."""
        name = f"c{len(self._cells)}"
        for x in about:
            if isinstance(x, Neuron) and kind == "cell":
                self._cell_of[x] = name
        nodes = [node for x in about for node in self._nodes_of(kind, x)]
        self._cells.append((kind, nodes, [self._number(x) for x in about]))
        return {"id": name, "href": "#"}

    def _nodes_of(self, kind: str, about: Any) -> Iterable[Value]:
        """The nodes whose numbers a cell shows, and whose gradients colour it."""
        if isinstance(about, Value):
            return [about]
        if isinstance(about, Turn):
            return [about.z if kind in ("z", "leaving") else about.y]
        if isinstance(about, Neuron):
            end = "y" if kind == "grads" else "z"
            return [getattr(turn, end) for turn in about.turns.values()]
        layers = [about] if isinstance(about, Layer) else self._row(kind, about)
        return [t.z for x in layers for n in x.neurons.values() for t in n.turns.values()]

    def _row(self, kind: str, about: Any) -> list[Layer]:
        """The layers that a strip, or the words beside it, is about."""
        beside = isinstance(self._form, Cells) and kind in ("strip", "left", "factor", "split")
        return self._form.rows[about] if beside and isinstance(self._form, Cells) else []

    def _number(self, about: Any) -> Any:
        """What a cell is about, as the page's script knows it."""
        if isinstance(about, Turn):
            return self._turn[about.y]
        if isinstance(about, Neuron):
            return self._neurons[about]
        if isinstance(about, Layer):
            return self._layers[about]
        return self._index[about] if isinstance(about, Value) else about

    # --- the data of the page's script ----------------------------------------------------------

    def data(self, boxes: list[Box], arrows: list[Arrow], live: Live) -> dict[str, Any]:
        """All that the page's script has to know of the picture.

        boxes, arrows: what it tells of; live: the graph, whose nodes have the numbers of the twins
        """
        twins = [*self._index]
        home = {twins[live.index[node]]: box.number for box in boxes for node in box.nodes}
        owners = [self._owner(twins[live.index[node]] for node in box.nodes) for box in boxes]
        known = {
            "cells": [[kind, sorted({home[x] for x in nodes}), *numbers]
                      for kind, nodes, numbers in self._cells],
            "looks": LOOKS,
            "stop": STOP,
            "answer": self._answer,
            "slopes": [bound for bound, _ in ORANGES],
            "turns": [self._chain(turn) for turn in self._turns],
            "around": [*map(self._around, owners)],
            "lines": [self._line(owners[arrow.tail.number], owners[arrow.head.number])
                      for arrow in arrows],
            "strip": self._form.strip.data() if isinstance(self._form, Cells) else None,
            "lineBy": self._line_by(),
        }  # fmt: skip
        return {**known, **(self._anew() if live.graph else {})}

    def _anew(self) -> dict[str, Any]:
        """What the script has to know besides when a leaf is changed."""
        rows = self._form.rows if isinstance(self._form, Cells) else []
        return {
            "bounds": BOUNDS,
            "samples": self.net.samples,
            "neurons": [self._neuron(neuron) for neuron in self._neurons],
            "layers": [self._layer(layer) for layer in self._layers],
            "rows": [[self._layers[x] for x in row] for row in rows],
            "bare": [*self._bare_lines()],
            **({"thin": self._form.size.is_thin, "counts": self._form.counted}
               if isinstance(self._form, Cells) else {}),
        }  # fmt: skip

    def _line_by(self) -> str:
        """Beside which lines one is wide: all, or those of its layer; "" where all are alike."""
        return "all" if not isinstance(self._form, Cells) else "layer" if self._form.lines else ""

    def _owner(self, nodes: Iterable[Value]) -> Neuron | Input | Layer | None:
        """Who owns all of these nodes: a neuron or a layer; None for the loss, or for several."""
        owners = {self._owners.get(node) for node in nodes}
        if len(owners) == 1:
            return owners.pop()
        layers = {x.layer if isinstance(x, Neuron) else x for x in owners}
        found = layers.pop() if len(layers) == 1 else None
        return found if isinstance(found, Layer) else None

    def _around(self, owner: Neuron | Input | Layer | None) -> str:
        """The part of the picture in which an owner's nodes are."""
        if isinstance(owner, Neuron) and owner in self._cell_of:
            return f"a_{self._cell_of[owner]}"
        return self._form.place(owner)

    def _line(self, tail: Any, head: Any) -> str:
        """The line between two owners, by the title that Graphviz gives it."""
        return "" if tail is head else "->".join(self._form.ends(tail, head))

    def _bare_lines(self) -> Iterator[list[Any]]:
        """The lines from inputs that are bare numbers: title, the weight, and z."""
        for neuron in self._neurons:
            for turn in neuron.turns.values():
                for given, weight in bare_inputs(self.net, turn.z):
                    w = self._index[weight] if isinstance(weight, Value) else [weight]
                    yield [self._line(given, neuron), w, self._index[turn.z]]

    def _chain(self, turn: Turn) -> list[int]:
        """The nodes of a turn from y down to z, in the order of the sweep."""
        neuron = self.net.neuron_of(turn.y)
        found, reached = [turn.y], {turn.y}
        for node in found:
            inside = [x for x in node.inputs if node is not turn.z and x not in reached]
            found += [x for x in inside if self.net.neuron_of(x) is neuron]
            reached.update(inside)
        within = {self._index[node] for node in found} - {self._index[turn.z]}
        return [*sorted(within), self._index[turn.z]]

    def _neuron(self, neuron: Neuron) -> dict[str, Any]:
        """A neuron's turns and words, and the slope below which it is saturated."""
        rule = neuron.rule
        facts: dict[str, Any] = {
            "index": neuron.index,
            "turns": [self._turn[turn.y] for turn in neuron.turns.values()],
            "gate": is_gate(neuron),
            "parameters": [self._index[p] for p in neuron.parameters],
        }
        if neuron.activation and rule and rule.kind == "saturating":
            facts["flat"] = shut_from(rule)
        return facts

    def _layer(self, layer: Layer) -> dict[str, Any]:
        """A layer's neurons, the layers that read it, and its parameters."""
        return {
            "neurons": [self._neurons[neuron] for neuron in layer.neurons.values()],
            "readers": [i for reader, i in self._layers.items() if layer in reader.reads],
        }
