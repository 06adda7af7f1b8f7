"""A net's gradient by layer: where it stops, what a layer takes from it, what a line carries."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import NamedTuple

from microgradx.engine import Edge, Value, data_of
from microgradx.explain.factors import shut_from
from microgradx.explain.paths import is_stop
from microgradx.explain.samples import Input, Layer, Net, Neuron, Turn


class Passage(NamedTuple):
    """The doing of a layer to the gradient that comes to it from above.

    Sizes are root mean squares over the layer's neurons and all samples:
    arriving: |∂output/∂y|, at the outputs
    leaving:  |∂output/∂z|, at the pre-activations
    above:    what leaves the layers that read this one; where none does, what arrives
    weights:  arriving / above: the doing of the weights between
    slopes:   leaving / arriving: the doing of this layer's activations
    is_read:  whether another layer reads this one
    """

    layer: Layer
    above: float
    arriving: float
    leaving: float
    weights: float
    slopes: float
    is_read: bool

    @property
    def factor(self) -> float:
        """From what leaves the layers that read this one to what leaves it."""
        return self.weights * self.slopes


def together(passages: list[Passage]) -> Passage:
    """Layers in a row as if they were one: their factors are multiplied."""
    weights, slopes = (
        math.prod(getattr(passage, name) for passage in passages) for name in ("weights", "slopes")
    )
    first, last = passages[0], passages[-1]
    arriving = first.leaving / slopes if slopes else last.arriving
    return Passage(first.layer, last.above, arriving, first.leaving, weights, slopes, last.is_read)


class Survey:
    """The gradient of a net, neuron by neuron and layer by layer.

    alive: the nodes that a gradient can reach: by a path from the output without a partial of 0.
           All others are starved, but for those whose grad is not finite
    off:   by neuron, how many samples its slope is 0 on, where there are any
    stops: by neuron, on how many of these it stops a gradient, where it stops any
    passages: what each layer does to the gradient, in the order of the computation
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self.alive = reached(net.nodes)
        self.alive |= {node for node in net.nodes if not math.isfinite(node.grad)}
        self.off: dict[Neuron, int] = {}
        self.stops: dict[Neuron, int] = {}
        for neuron in net.neurons:
            closed = [turn for turn in neuron.turns.values() if not turn.slope]
            stopped = sum(map(self.stops_at, closed))
            self.off |= {neuron: len(closed)} if closed else {}
            self.stops |= {neuron: stopped} if stopped else {}
        self.passages = _passages(net)

    def stops_at(self, turn: Turn) -> bool:
        """Whether a neuron stops a gradient in one sample.

        A grad of 0 tells of no path to the output; a path without a 0 does.
        """
        return is_stop(turn.slope, turn.y.grad or float(turn.y in self.alive))

    def off_on(self, neuron: Neuron) -> int:
        """On how many samples a neuron's slope is 0, whether a gradient arrives there or not."""
        return self.off.get(neuron, 0)

    def off_on_all(self, neuron: Neuron) -> bool:
        """Whether a neuron's slope is 0 in every sample."""
        return self.off_on(neuron) == len(neuron.turns)

    def stops_all(self, neuron: Neuron) -> bool:
        """Whether a neuron's slope is 0 in every sample, and stops a gradient."""
        return neuron in self.stops and self.off_on_all(neuron)

    def starved(self, nodes: Iterable[Value]) -> int:
        """How many of the nodes no gradient can reach."""
        return sum([node not in self.alive for node in nodes])


def saturated(neuron: Neuron) -> bool:
    """Whether the median slope is below 1 % of the largest that the activation can have."""
    rule = neuron.rule
    if not neuron.activation or rule is None or rule.kind != "saturating":
        return False
    slopes = sorted(abs(turn.slope) for turn in neuron.turns.values())
    return 0 < slopes[len(slopes) // 2] < shut_from(rule)


def off_or_saturated(neurons: Iterable[Neuron]) -> tuple[int, int, int]:
    """How many neurons are off on all samples, how many on some, and how many are saturated."""
    shut = some = flat = 0
    for neuron in neurons:
        closed = sum(not turn.slope for turn in neuron.turns.values())
        everywhere = closed == len(neuron.turns)
        if neuron.rule and neuron.rule.kind == "saturating":  # a slope of 0 has been rounded there
            flat += everywhere or saturated(neuron)
        else:
            shut += everywhere
            some += 0 < closed < len(neuron.turns)
    return shut, some, flat


def _passages(net: Net) -> list[Passage]:
    """One for each layer, in the order of the computation."""
    readers: dict[Layer, list[Layer]] = {}
    for layer in net.layers:
        for below in layer.reads:
            readers.setdefault(below, []).append(layer)
    passages: list[Passage] = []
    for layer in net.layers:
        ys, zs = _grads([layer])
        arriving, leaving = mean_square_root(ys), mean_square_root(zs)
        is_read = layer in readers
        above = mean_square_root(_grads(readers[layer])[1]) if is_read else arriving
        weights, slopes = _ratio(arriving, above) if is_read else 1.0, _ratio(leaving, arriving)
        passages.append(Passage(layer, above, arriving, leaving, weights, slopes, is_read))
    return passages


def _grads(layers: Iterable[Layer]) -> tuple[list[float], list[float]]:
    """The gradients at the outputs and at the pre-activations of layers, in every sample."""
    turns = [t for layer in layers for n in layer.neurons.values() for t in n.turns.values()]
    return [turn.y.grad for turn in turns], [turn.z.grad for turn in turns]


def mean_square_root(xs: Sequence[float]) -> float:
    """√(Σ x² / n), without overflow or underflow on the way; nan for no numbers."""
    return math.hypot(*xs) / math.sqrt(len(xs)) if xs else math.nan


def _ratio(x: float, y: float) -> float:
    return x / y if y else (0.0 if not x else math.inf)


def reached(nodes: Sequence[Value]) -> set[Value]:
    """The nodes with a path to the output, the first of `nodes`, on which no partial is 0.

    nodes: in the order of the sweep. All others are starved.
    """
    alive = {nodes[0]}
    for node in nodes:
        if node in alive:
            alive.update(compress(node.inputs, node.partials))
    return alive


def carried(net: Net) -> dict[tuple[Neuron | Input, Neuron], float]:
    """By line, from a neuron or an input to one that reads it, the gradient that it carries back.

    It is the root of Σ (partial · grad)² over the samples, grad being that at the reader's z.
    """
    totals = {
        line: [edge.partial * edge.node.grad for edge in edges]
        for line, edges in edges_of(net).items()
    }
    for neuron in net.neurons:
        for turn in neuron.turns.values():
            for given, weight in bare_inputs(net, turn.z):
                totals.setdefault((given, neuron), []).append(data_of(weight) * turn.z.grad)
    return {line: math.hypot(*numbers) for line, numbers in totals.items()}


def edges_of(net: Net) -> dict[tuple[Neuron | Input, Neuron], list[Edge]]:
    """By line, the edges that it stands for; those of bare numbers have none."""
    given = {x: i for i in net.inputs for x in i.numbers.values() if isinstance(x, Value)}
    behind = _neurons_behind_glue(net)
    lines: defaultdict[tuple[Neuron | Input, Neuron], list[Edge]] = defaultdict(list)
    for neuron in net.neurons:
        for turn in neuron.turns.values():
            for edge in turn.z.edges:
                source = given.get(edge.input) or net.neuron_of(edge.input)
                for each in [source] if source else behind.get(edge.input, ()):
                    if each is not neuron:
                        lines[each, neuron].append(edge)
    return lines


def bare_inputs(net: Net, z: Value) -> list[tuple[Input, Value | float]]:
    """The inputs that z reads as bare numbers, each with its weight."""
    if not (z.rule and z.rule.kind == "product" and z.rule.lists):
        return []
    weights, xs = z.operands[:2]
    named = {i.name: i for i in net.inputs}
    return [
        (named[f"x{j}"], w)
        for j, (w, x) in enumerate(zip(weights, xs))
        if not isinstance(x, Value) and f"x{j}" in named
    ]


def _neurons_behind_glue(net: Net) -> dict[Value, dict[Neuron, None]]:
    """By op of a norm and the like, the neurons that it is computed from."""
    behind: dict[Value, dict[Neuron, None]] = {}
    glue = {node for layer in net.layers for node in layer.glue}
    for node in reversed(net.nodes):
        if node in glue:
            behind[node] = {}
            for x in node.inputs:
                neuron = net.neuron_of(x)
                behind[node].update({neuron: None} if neuron else behind.get(x, {}))
    return behind
