"""The same neuron in every sample: a graph of layers, read as the net that it is.

A neuron is known by the labels that `nn` gives: `layers.0[2]` is its output in some sample and
`layers.0[2].z` its pre-activation there; a sample is what the neurons of one pass share.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from weakref import ref

from microgradx.engine import Value, order
from microgradx.rules import Rule

LABEL = re.compile(r"(?P<path>.*?)\[(?P<index>\d+(,\d+)*)\](?P<z>\.z)?")
# What a module owns beside its outputs: its tensors of parameters, and a norm's statistics.
TENSOR = re.compile(
    r"(?:.*\.)?(?:(?P<parameter>(?:\w+_)?(?:weight|bias)(?:_\w+)?)|(?P<statistic>mean|var))"
)

SEARCHED = 100  # nodes below the output, for a sum of samples

Role = Literal["y", "z", "parameter", ""]


class Turn(NamedTuple):
    """A neuron in one sample: its pre-activation z, its output y, and slope = ∂y/∂z.

    Without an activation z and y are one node, and the slope is 1.
    """

    z: Value
    y: Value
    slope: float


class Neuron:
    """One neuron of a layer, in every sample that it takes part in.

    activation: the op between z and y, "" where y is linear in z
    turns:      by sample, from 0
    parameters: its weights, in the order in which its op reads them, and its bias
    """

    def __init__(self, layer: Layer, index: str) -> None:
        self._layer = ref(layer)  # which holds it, and is held by the net: no cycle is left
        self.index = index
        self.activation = ""
        self.turns: dict[int, Turn] = {}
        self.parameters: list[Value] = []

    @property
    def layer(self) -> Layer:
        layer = self._layer()
        assert layer is not None
        return layer

    @property
    def name(self) -> str:
        return f"{self.layer.name}[{self.index}]"

    @property
    def rule(self) -> Rule | None:
        """The row of the table that made its outputs."""
        return next(iter(self.turns.values())).y.rule

    def __repr__(self) -> str:
        return f"<{self.name} in {len(self.turns)} samples>"


class Input:
    """A number that every sample brings: its name, and by sample a leaf or a bare number."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.numbers: dict[int, Any] = {}

    def __repr__(self) -> str:
        return f"<input {self.name}>"


class Layer:
    """Neurons side by side, by index.

    reads: the layers that it is computed from by way of no other layer
    glue:  the ops on these ways that belong to no neuron, such as the statistics of a norm
    reads_inputs: whether it reads numbers that a sample brings
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.neurons: dict[str, Neuron] = {}
        self.reads: dict[Layer, None] = {}
        self.glue: list[Value] = []
        self.reads_inputs = False

    @property
    def is_norm(self) -> bool:
        """Whether it takes the mean of what it reads."""
        return any(statistic_of(node.label) == "mean" for node in self.glue)

    def __repr__(self) -> str:
        return f"<{self.name} of {len(self.neurons)} neurons>"


class Net:
    """The layers behind `output`, in the order of the computation.

    nodes:   every node, in the order of the sweep
    layers, inputs: of the net
    samples: how many samples there are
    repeats: whether a neuron works several times in a sample, as in a recurrent net; one that does
             is read no further
    mixed:   whether two models have the same labels
    loss:    the nodes between the last layers and the output, in the order of the sweep
    """

    def __init__(self, output: Value, nodes: list[Value]) -> None:
        self.output = output
        self.nodes = nodes
        self.loss: list[Value] = []
        self.repeats = False
        self._layers: dict[str, Layer] = {}
        self._named: dict[str, Neuron] = {}  # by the label of its outputs
        self._zs: dict[Neuron, str] = {}  # the label of its pre-activations, where there are any
        self._parameters: dict[Neuron, dict[Value, None]] = {}
        self._inputs: dict[object, Input] = {}
        self._taken: set[Value] = set()
        self._labels = {node.label for node in nodes}
        self._sample = _samples_of_last_layers(output)
        self._owner: dict[Value, Layer] = {}  # the nodes of the loss have none
        self._outputs: dict[Value, Value] = {}  # of each node from a y down to its z, that y
        self._slopes: dict[Value, float] = {}  # ∂y/∂node
        self._neurons: dict[Value, Neuron] = {}
        self._passed: set[object] = set()  # lists of operands, by id, and who has read them
        for node in nodes:
            if self.repeats:
                break
            if node.rule:
                self._place(node)
                if node in self._owner:
                    self._pass_on(node)
        self._put_in_order()
        self.mixed = any(_repeated(p.label for p in neuron.parameters) for neuron in self.neurons)
        self.samples = max((k for neuron in self.neurons for k in neuron.turns), default=-1) + 1

    def _put_in_order(self) -> None:
        """Layers as they are computed, neurons by index, samples by number, biases last."""
        last = {layer: i for i, x in enumerate(self.nodes) if (layer := self._owner.get(x))}
        self.layers = sorted(last, key=lambda layer: -last[layer])
        self.inputs = list(self._inputs.values())
        self._name_inputs()
        for given in self.inputs:
            given.numbers = dict(sorted(given.numbers.items()))
        for layer in self.layers:
            layer.neurons = dict(
                sorted(layer.neurons.items(), key=lambda named: _numbers(named[0]))
            )
        for neuron in self.neurons:
            neuron.turns = dict(sorted(neuron.turns.items()))
            neuron.parameters = sorted(self._parameters[neuron], key=_is_bias)

    @property
    def begins_with_ops(self) -> bool:
        """Whether ops of no layer read nothing but leaves, as those of a reader's own layer do."""
        glue = [node for layer in self.layers if not layer.is_norm for node in layer.glue]
        return any(node.inputs and not any(x.rule for x in node.inputs) for node in glue)

    @property
    def neurons(self) -> Iterator[Neuron]:
        """Every neuron, layer by layer."""
        return (neuron for layer in self.layers for neuron in layer.neurons.values())

    @property
    def outputs(self) -> list[Neuron]:
        """The neurons of the layers that no other layer reads: the loss does."""
        read = {below for layer in self.layers for below in layer.reads}
        last = [layer for layer in self.layers if layer not in read]
        return [neuron for layer in last for neuron in layer.neurons.values()]

    def neuron_of(self, node: Value) -> Neuron | None:
        """The neuron whose z, y or what lies between them a node is."""
        return self._neurons.get(node)

    def _place(self, node: Value) -> None:
        """Note where an op belongs; all that read it have been placed."""
        if role_of(node.label).role == "y":
            self._start(node, self._named.get(node.label) or self._enter(node.label))
        if node in self._neurons:
            self._pass_slope(node)
        elif node in self._owner:
            self._owner[node].glue.append(node)
        else:
            self.loss.append(node)

    def _layer(self, path: str) -> Layer:
        return self._layers.setdefault(path, Layer(path))

    def _enter(self, label: str) -> Neuron:
        """The neuron of this label, which has not been met before."""
        path, index, _ = role_of(label)
        layer = self._layer(path)
        neuron = self._named[label] = layer.neurons[index] = Neuron(layer, index)
        self._parameters[neuron] = {}
        if f"{label}.z" in self._labels:
            self._zs[neuron] = f"{label}.z"
        return neuron

    def _start(self, y: Value, neuron: Neuron) -> None:
        """Begin the turn of a neuron that ends in y."""
        k = self._sample.setdefault(y, 0)
        self.repeats = self.repeats or k in neuron.turns
        neuron.turns[k] = Turn(y, y, 1.0)
        self._owner[y] = neuron.layer
        self._neurons[y], self._outputs[y], self._slopes[y] = neuron, y, 1.0
        if neuron in self._zs and not neuron.activation:
            neuron.activation = self._activation(y, self._zs[neuron])

    def _activation(self, y: Value, z: str) -> str:
        """The op between z and y; "" for a sum with z, such as that of a norm's bias."""
        direct = any(x.label == z for x in y.inputs)
        if direct and y.rule and y.rule.kind == "linear":
            return ""
        return y.op if direct and len(y.inputs) == 1 else "f(z)"

    def _pass_slope(self, node: Value) -> None:
        """End a neuron's turn at its z; above it, give ∂y/∂node to what the node reads."""
        y, slope, neuron = self._outputs[node], self._slopes[node], self._neurons[node]
        z = self._zs.get(neuron)
        if node.label == z:
            neuron.turns[self._sample[y]] = Turn(node, y, slope)
        elif z:
            for x, partial in zip(node.inputs, node.partials):
                if x.rule and role_of(x.label).role != "y":
                    self._outputs[x], self._neurons[x] = y, neuron
                    self._slopes[x] = self._slopes.get(x, 0.0) + partial * slope

    def _pass_on(self, node: Value) -> None:
        """Give what a node reads its layer and its sample, where no reader has done so before."""
        if node.rule and node.rule.lists:
            for operand in node.operands:
                if not isinstance(operand, tuple):
                    self._pass_to(node, [operand])
                else:
                    # Weights are those of one neuron; other lists go to a layer in a sample.
                    own = isinstance(operand[0], Value) and role_of(operand[0].label).role
                    reader = () if own == "parameter" else (self._owner[node], self._sample[node])
                    if (id(operand), *reader) not in self._passed:
                        self._passed.add((id(operand), *reader))
                        self._pass_to(node, operand)
        else:
            self._pass_to(node, node.inputs)

    def _pass_to(self, node: Value, operands: Iterable[Any]) -> None:
        layer, neuron = self._owner[node], self._neurons.get(node)
        for j, x in enumerate(operands):
            role = role_of(x.label) if isinstance(x, Value) else None
            if role and x.rule:
                self._sample.setdefault(x, self._sample[node])
                if role.role != "y":
                    self._owner.setdefault(x, layer)
                elif role.path != layer.name:
                    layer.reads.setdefault(self._layer(role.path))
            elif role and role.role == "parameter":
                if neuron:
                    self._parameters[neuron].setdefault(x)
            elif role or isinstance(operands, tuple):
                layer.reads_inputs = True
                listed = isinstance(operands, tuple) or not role
                self._take(x, j if listed else x.label or j, self._sample[node], f"x{j}")

    def _take(self, x: Any, key: object, k: int, name: str) -> None:
        """Note a number from outside: a layer's by its place, as samples may label it each anew."""
        if isinstance(x, Value):
            if x in self._taken:
                return
            self._taken.add(x)
        given = self._inputs.setdefault(key, Input(name))
        given.numbers.setdefault(k, x)

    def _name_inputs(self) -> None:
        """By their label, where that is the same in all samples and of no other input."""
        labels = [{getattr(x, "label", "") for x in i.numbers.values()} for i in self.inputs]
        times = Counter(label for found in labels for label in found)
        for given, found in zip(self.inputs, labels):
            [label, *others] = found
            if label and not others and times[label] == 1:
                given.name = label


class _Role(NamedTuple):
    path: str
    neuron: str
    role: Role


@lru_cache(maxsize=100_000)
def role_of(label: str) -> _Role:
    """A label, read: the layer, the neuron's index in it, and which of its nodes this is."""
    match = LABEL.fullmatch(label)
    if match is None:
        return _Role("", "", "parameter" if TENSOR.fullmatch(label) else "")
    tensor = TENSOR.fullmatch(match["path"])
    if tensor:
        return _Role(match["path"], match["index"], "parameter" if tensor["parameter"] else "")
    return _Role(match["path"], match["index"], "z" if match["z"] else "y")


def statistic_of(label: str) -> str:
    """Which statistic of a norm a label names: "mean" or "var"; "" for another label."""
    indexed = LABEL.fullmatch(label)
    tensor = TENSOR.fullmatch(indexed["path"] if indexed else label)
    return "" if tensor is None or tensor["parameter"] else tensor["statistic"]


def _repeated(labels: Iterable[str]) -> bool:
    names = list(labels)
    return len({*names}) < len(names)


def _is_bias(parameter: Value) -> bool:
    return role_of(parameter.label).path.endswith("bias")


def _numbers(index: str) -> list[int]:
    return [int(i) for i in index.split(",")]


def net_of(output: Value, nodes: list[Value] | None = None) -> Net | None:
    """The net behind `output`; None where no label says that its nodes form layers with weights.

    Nor is it one to be read so where a neuron works several times in a sample, as in a recurrent
    net, where two models have the same labels, or where ops of no layer come before the first.

    nodes: in the order of the sweep, where that is known
    """
    nodes = order(output) if nodes is None else nodes
    if not any(node.rule and role_of(node.label).role == "y" for node in nodes):
        return None
    net = Net(output, nodes)
    plain = not (net.repeats or net.mixed or net.begins_with_ops)
    return net if plain and any(neuron.parameters for neuron in net.neurons) else None


def samples_of(nodes: list[Value]) -> dict[Value, int]:
    """The nodes by which a loss reads its samples, each with the number of its sample.

    They are the outputs of the last layers. Where nothing is labelled as a layer, they are the
    terms of a sum that are computed alike, and from the same leaves but for some.

    nodes: in the order of the sweep
    """
    if any(role_of(label).role == "y" for label in {x.label for x in nodes if x.rule}):
        return _samples_of_last_layers(nodes[0])
    queue = {nodes[0]: None}
    for _ in range(SEARCHED):
        if not queue:
            break
        node, _ = queue.popitem()
        terms = _terms(node)
        if _are_alike(terms):
            return {term: k for k, term in enumerate(terms)}
        below = terms[:SEARCHED] or (node.inputs if len(node.inputs) == 1 else [])
        queue.update(dict.fromkeys(x for x in below if x.rule))
    return {}


def _terms(node: Value) -> list[Value]:
    """The terms of a sum, of a list or by a chain of additions; none where it is no sum."""
    if node.rule and node.rule.lists:
        return [x for x in node.inputs if x.rule] if node.rule.kind == "linear" else []
    terms: list[Value] = []
    while node.rule and node.rule.kind == "linear" and [*node.partials] == [1.0, 1.0]:
        node, last = node.inputs
        terms.append(last)
    while node.rule and node.rule.kind == "linear" and [*node.partials] == [1.0]:  # 0 + x
        [node] = node.inputs
    if len(terms) < 2:
        return []
    if node.rule or node.data or node.label:  # else a Value(0.0) that a sum began with
        terms.append(node)
    return terms[::-1]


def _are_alike(terms: list[Value]) -> bool:
    """Whether terms are made by the same ops, and the first two mostly from the same leaves."""
    if len(terms) < 2 or len({*terms}) < len(terms):
        return False
    if len({(term.rule, term.label, *[x.rule for x in term.inputs]) for term in terms}) > 1:
        return False
    one, other = ({x for x in order(term) if not x.rule} for term in terms[:2])
    return 2 * len(one & other) >= min(len(one), len(other)) > 0


def _samples_of_last_layers(output: Value) -> dict[Value, int]:
    """Of each output of a neuron that the loss reads, its sample: the loss names them in order."""
    numbers: dict[Value, int] = {}
    times: Counter[str] = Counter()
    stack, seen = [output], {output}
    while stack:
        node = stack.pop()
        if node.rule and role_of(node.label).role == "y":
            numbers[node] = times[node.label]
            times[node.label] += 1
            continue
        fresh = [x for x in dict.fromkeys(node.inputs) if x not in seen]
        seen.update(fresh)
        stack.extend(reversed(fresh))
    return numbers


def computed_alike(
    nodes: list[Value], samples: Sequence[int], tails: Sequence[int], first: Sequence[int]
) -> list[int]:
    """By node a number that those share which several samples compute alike.

    They are made by the same ops, from leaves of their own sample and the same others.

    nodes, samples, tails, first: as in `Paths`
    """
    known: dict[object, int] = {}
    alike = [0] * len(nodes)
    for j in range(len(nodes) - 1, -1, -1):
        read = map(alike.__getitem__, tails[first[j] : first[j + 1]])
        way = j if samples[j] < 0 else (nodes[j].rule, *read)
        alike[j] = known.setdefault(way, len(known))
    return alike
