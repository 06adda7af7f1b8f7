"""What kind of factor each local derivative is: a weight, a slope, a norm's 1/σ, and so on.

Each edge u → v of a graph has the factor ∂v/∂u. Its kind is told by the op, by what it is
multiplied with, and by labels: those of layers, of parameters, and of the loss after the layers.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import repeat
from math import isfinite, log
from typing import Any

from microgradx import rules
from microgradx._base import floats
from microgradx._base.text import names_parameter, place
from microgradx.engine import Edge, Value, data_of, order, positions
from microgradx.explain.samples import samples_of, statistic_of
from microgradx.rules import Rule

# The kinds of factor, to be blamed or thanked.
KINDS = (
    "weights", "inputs", "activations", "constants", "sigmoid ceiling", "saturation", "gates",
    "singular op", "norm", "fan-out", "loss",
)  # fmt: skip
OTHER_FACTORS = {
    "saturating": "saturation", "gate": "gates", "singular": "singular op", "linear": "constants",
}  # fmt: skip
SHOWN = {"weights": "weight scale", "norm": "a norm's 1/σ"}  # with the fan-out into them
FANS = {"constants": "fan-out"}  # where paths spread over what has no size of its own
SATURATED = 0.01  # of the largest slope that an activation has
FAR = 1e3  # from 0: there every slope is what it tends to
FRESH = -2  # the sample of a node that no reader has been seen of


class Factors:
    """The edges of the graph behind `output`, and the kind of each edge's factor.

    nodes, index: the nodes in the order of the sweep, and where each stands in it
    tails, heads: of every edge its two ends; those of node j, in the order of its arguments, are
             first[j] up to first[j + 1]
    loss:    the nodes of the loss
    samples: the sample that a node belongs to, -1 where it is several, or none

    parameters: the leaves whose factors are weights; None: see `weights`
    """

    def __init__(self, output: Value, parameters: Iterable[Value] | None = None) -> None:
        self.nodes = order(output)
        self.index = {node: i for i, node in enumerate(self.nodes)}
        self.parameters = None if parameters is None else set(parameters)
        self.loss = loss_part(self.nodes)
        self._lists: dict[int, list[str]] = {}  # by the id of a node's list of operands
        # Arrays, as an int of one's own in a list takes three times as much room.
        self.tails, self.heads, self.first = array("i"), array("i"), array("i", [0])
        index_of = self.index.__getitem__
        for j, node in enumerate(self.nodes):
            inputs = node.inputs
            self.tails.extend(map(index_of, inputs))
            self.heads.extend(repeat(j, len(inputs)))
            self.first.append(len(self.tails))

    @cached_property
    def samples(self) -> Sequence[int]:
        """The sample that each node belongs to; -1 where it is several, or none.

        It is that of its readers. Of these, the statistics of a norm, which are of all samples, do
        not count.
        """
        samples, fresh = array("i", [FRESH]) * len(self.nodes), samples_of(self.nodes)
        for node, k in fresh.items():
            samples[self.index[node]] = k
        settled = {self.index[node] for node in fresh}
        for i, j in zip(self.tails, self.heads):
            k = samples[j]
            if i not in settled and k >= 0 and samples[i] != k:
                samples[i] = k if samples[i] == FRESH else -1
        return array("i", (max(k, -1) for k in samples))

    @cached_property
    def several(self) -> bool:
        """Whether there are several samples."""
        return max(self.samples) > 0

    def kind(self, edge: Edge) -> str:
        """The kind of an edge's factor, one with a ceiling apart."""
        return self.kinds(edge.node)[edge.node.edges.index(edge)]

    def ceiling(self, node: Value) -> float:
        """ln of the ceiling of a saturating op before the loss, where it is below 1; else 0."""
        rule = node.rule
        if rule is None or rule.kind != "saturating" or node in self.loss:
            return 0.0
        return log(min(rule.ceiling, 1.0))

    def kinds(self, node: Value) -> list[str]:
        """For each of the node's inputs, what kind of factor its partial is."""
        rule: Any = node.rule
        if rule is None:
            return []
        if node in self.loss or rule.kind != "product":
            kind = "loss" if node in self.loss else _other_kind(node)
            return [kind] * len(node.inputs)
        if not rule.lists and len(node.inputs) == 1:
            [x], other = node.inputs, partner(node, positions(node)[0])
            kind = self._whats.get(other, "constants")
            return ["inputs" if kind == "constants" and self._whats[x] == "weights" else kind]
        first, second, *rest = node.operands
        if not rule.lists:
            first, second = (first,), (second,)
        of_first, of_second = self._whats_of(first), self._whats_of(second)
        kinds = [*of_second, *of_first]  # each is multiplied with its partner
        if "constants" in kinds:  # which are inputs, if they are a weight's
            pairs = zip([*of_first, *of_second], kinds)
            kinds = ["inputs" if (x, y) == ("weights", "constants") else y for x, y in pairs]
        kinds += ["constants"] * len(rest)
        if len(kinds) == len(node.inputs):
            return kinds
        read = (*first, *second, *rest)
        return [kind for x, kind in zip(read, kinds) if isinstance(x, Value)]

    def _whats_of(self, factors: tuple[Any, ...]) -> list[str]:
        """The kinds of factors as such; a list of them is asked for once for all its readers."""
        if len(factors) == 1:
            return [self._whats.get(factors[0], "constants")]
        if id(factors) not in self._lists:
            self._lists[id(factors)] = [self._whats.get(x, "constants") for x in factors]
        return self._lists[id(factors)]

    @cached_property
    def _whats(self) -> dict[Value, str]:
        """The kind of each node as a factor."""
        return {x: self.what(x) for x in self.nodes}

    def what(self, factor: Any) -> str:
        """The kind of the other operand of a product."""
        if not isinstance(factor, Value):
            return "constants"
        if factor.rule is not None:
            return "activations"
        return "weights" if factor in self.weights else "inputs"

    @cached_property
    def weights(self) -> set[Value]:
        """The leaves that are weights: `parameters`, else those of such labels.

        Where none has such a label, those that several samples read.
        """
        if self.parameters is not None:
            return self.parameters
        leaves = [x for x in self.nodes if x.rule is None]
        named = {x for x in leaves if names_parameter(x.label)}
        if named or not self.several:
            return named
        return {x for x in leaves if self.samples[self.index[x]] < 0}


def _other_kind(node: Value) -> str:
    """The kind of the factors of an op that is no product; a norm's 1/σ is one of its own.

    A power is singular only with an exponent below 1: else it is the size of what it reads.
    """
    assert node.rule is not None
    kind = node.rule.kind
    if node.rule is rules.div and not isinstance(node.operands[1], Value):
        return "constants"  # as of a mean
    if kind == "singular" and _is_regular(node):
        return "activations"
    if kind == "singular" and len(node.operands) == 2 and _is_of_norm(node.operands[1]):
        return "norm"
    return OTHER_FACTORS[kind]


def _is_regular(node: Value) -> bool:
    rule = node.rule
    return bool(rule and rule.regular and rule.regular(*map(data_of, node.operands)))


def _is_of_norm(divisor: Any) -> bool:
    """Whether it is the root of a norm's variance, eps added or not."""
    for _ in range(3):
        if not isinstance(divisor, Value) or divisor.rule is None:
            return False  # a leaf called `var` is no statistic
        if statistic_of(divisor.label) == "var":
            return True
        divisor = divisor.inputs[0] if len(divisor.inputs) == 1 else None
    return False


def partner(node: Value, position: int) -> Any:
    """The operand that this one is multiplied with: of the first operand, it is in the second."""
    first, second = node.operands[:2]
    if not isinstance(first, tuple):
        return (second, first)[position]
    both = (*second, *first)
    return both[position] if position < len(both) else None


def is_activation(node: Value) -> bool:
    """Whether it saturates, or is off, by the one number that it reads."""
    rule = node.rule
    if rule is None or len(node.inputs) != 1:
        return False
    return rule.kind == "saturating" or rule.shut_below is not None


def shut_from(rule: Any) -> float:
    """The slope below which an activation is saturated: 1 % of its largest, of 1 if it has none."""
    return SATURATED * (rule.ceiling if isfinite(rule.ceiling) else 1.0)


def takes_one(rule: Rule) -> bool:
    """Whether an op is one of a single number, whatever else it takes having a usual number."""
    return not rule.lists and len(rule.operands) - len(rule.defaults) == 1


def of_one(xp: Any, node: Value, x: Any) -> tuple[Any, Any]:
    """What the op of a node that reads one Value makes of another number, and the slope there.

    Its other operands are as they are: the ends of a clamp, the alpha of an ELU.
    """
    assert node.rule is not None
    k = next(k for k, operand in enumerate(node.operands) if isinstance(operand, Value))
    operands = [x if i == k else operand for i, operand in enumerate(node.operands)]
    value, *partials = node.rule.function(xp, *operands)
    return value, partials[k]


def is_open(node: Value) -> bool:
    """Whether an activation is flat on one side alone, as a ReLU."""
    return _flat_sides(node) == 1


def is_closed(node: Value) -> bool:
    """Whether it is flat on both sides, as a sigmoid, or a clamp."""
    return _flat_sides(node) == 2


def _flat_sides(node: Value) -> int:
    return sum(of_one(floats, node, x)[1] == 0 for x in (-FAR, FAR))


def factor_pairs(node: Value) -> list[tuple[Any, Any]]:
    """The pairs whose products a node adds up; Values and numbers."""
    if node.rule is None or node.rule.kind != "product":
        return []
    one, other = node.operands[:2]
    return [*zip(one, other)] if isinstance(one, tuple) else [(one, other)]


def read_by(node: Value) -> list[Value]:
    """All Values that an op reads, those to which no gradient goes among them, each once."""
    read = [x for one in node.operands for x in (one if isinstance(one, tuple) else (one,))]
    return [*dict.fromkeys(x for x in read if isinstance(x, Value))]


def layers(nodes: list[Value]) -> list[str]:
    """For each node the layer that its label names; "" for a leaf, and where there is none."""
    named = {label: place(label)[0] for label in {x.label for x in nodes if x.rule}}
    return [named[x.label] if x.rule else "" for x in nodes]


def loss_part(nodes: list[Value]) -> set[Value]:
    """The nodes between the output and the layers: those that no layer comes after.

    Where no node is labelled as part of a layer, a power of a difference at the end is one, with
    what scales and adds it up.
    """
    placed = {node for node, layer in zip(nodes, layers(nodes)) if layer}
    if not placed:
        return _powers_at_the_end(nodes[0])
    if nodes[0] in placed:
        return set()
    behind: set[Value] = set()
    for node in nodes:
        if node in placed or node in behind:
            behind.update(node.inputs)
    return {x for x in nodes if x.rule is not None and x not in placed and x not in behind}


def _powers_at_the_end(output: Value) -> set[Value]:
    """The powers of differences that an output is the sum of, scaled or not, and the ops above."""
    powers, above = set[Value](), set[Value]()
    queue = {output: None}
    while queue:
        node, _ = queue.popitem()
        if not node.rule or node in above:
            continue
        base = node.operands[0]
        if _is_regular(node) and isinstance(base, Value) and len(base.operands) == 2:
            powers |= {node} if base.rule and base.rule.kind == "linear" else set()
        elif node.rule.kind == "linear" or _scales(node):
            above.add(node)
            queue.update(dict.fromkeys(node.inputs))
    return powers | above if powers else set()


def _scales(node: Value) -> bool:
    """Whether it is x times a bare number, or divided by one."""
    rule = node.rule
    one = rule is not None and rule.operator and len(node.inputs) == 1
    return one and rule is not None and rule.kind in ("product", "singular")
