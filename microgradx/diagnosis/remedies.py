"""The remedies: a row says where one applies, by the findings, and how it changes a copy of a net.

Those that start anew build another net, and only where the net is a plain chain of dense layers:
its twin, with its own weights, must give its own outputs.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from microgradx._base.arguments import flat, nested, shape
from microgradx._base.text import clean, count, short
from microgradx.diagnosis.gauge import Gauge
from microgradx.diagnosis.scales import Tensor, tensors_of
from microgradx.engine import Value
from microgradx.interop.usage import in_use
from microgradx.nn.layers import Layer, activations, glorot, he
from microgradx.nn.module import Module, tensors
from microgradx.nn.norms import LayerNorm, Residual
from microgradx.ops import logsumexp
from microgradx.replay.units import Key

if TYPE_CHECKING:
    from microgradx.diagnosis.result import Checkup
    from microgradx.replay.batch import Array

AS_IT_IS = "as it is"
MOST = 8  # remedies that are tried
ALONE = 3  # tensors that are brought to scale each by itself
OFF = 3.0  # times its initialiser's scale, or a third: a tensor that is so far off is brought to it
NEAR = 0.5  # of mean 0 and spread 1: inputs that are standardised already
MANY = 0.25  # of the ReLUs dead: the step is taken to have killed them
ROWS, SAME = 8, 1e-9  # that a twin is compared on, and how well its outputs agree

INPUTS = ("inputs out of scale", "inputs far from 0")
BLOWN = ("large step", "worse than a guess", "exploding", "not finite")
CHOKED = ("sigmoid chain", "vanishing", "exploding", "saturated", "linear net")


class Case:
    """What the remedies look at.

    model: the net, which stays as it is
    gauge: of a copy of it
    seed:  of what is drawn anew
    """

    def __init__(self, checkup: Checkup, gauge: Gauge, seed: int) -> None:
        self.checkup, self.gauge, self.seed = checkup, gauge, seed
        self.model, self.X = checkup.task.model, checkup.task.X

    def has(self, verdicts: Sequence[str]) -> bool:
        return any(finding.verdict in verdicts for finding in self.checkup.findings)

    @cached_property
    def places(self) -> dict[Value, int]:
        """Where each parameter stands among those of the net."""
        return {p: k for k, p in enumerate(self.model.parameters())}

    @cached_property
    def named(self) -> dict[str, int]:
        return {name: k for k, (name, _) in enumerate(self.model.named_parameters())}

    @cached_property
    def dead(self) -> list[Key]:
        """The ReLUs that are dead on the data and have a bias, layer by layer."""
        rows = self.checkup.neurons.rows
        dead = {(row["layer"], f"{row['neuron']}") for row in rows if row["verdict"] == "dead"}
        layers = [*dict.fromkeys(layer for layer, _ in self.gauge.relus)]
        keys = [key for key in self.gauge.relus if key in dead and bias_of(key) in self.named]
        return sorted(keys, key=lambda key: layers.index(key[0]))

    @cached_property
    def tensors(self) -> list[Tensor]:
        return tensors_of(self.checkup.survey)

    @cached_property
    def scalings(self) -> list[Scaling]:
        """Of the weights that a finding blames, each once."""
        found: dict[str, Scaling] = {}
        for finding in self.checkup.findings:
            for tensor in self.tensors:
                units = None if finding.where == tensor.name else finding.neurons
                if finding.verdict in ("small weights", "large weights"):
                    blamed = finding.where == tensor.name
                else:
                    blamed = finding.verdict == "saturated" and finding.where == tensor.layer
                scaling = self._scaling(tensor, units) if blamed else None
                if scaling:
                    found.setdefault(scaling.name, scaling)
        return [*found.values()]

    def _scaling(self, tensor: Tensor, units: Sequence[int] | None) -> Scaling | None:
        """Of a whole tensor, or of the rows of some units where these alone are off."""
        rows = tensor.rows
        if units and not is_off(tensor.ratio):
            rows = {k: row for k, row in rows.items() if k in map(str, units)}
        size = math.sqrt(np.mean([p.data**2 for row in rows.values() for p in row] or [0.0]))
        if not size or not is_off(size / tensor.usual):
            return None
        part = "" if len(rows) == len(tensor.rows) else f"{count(len(rows), 'row')} of "
        weights = tuple(self.places[p] for row in rows.values() for p in row if p in self.places)
        return Scaling(f"{part}{tensor.name}", weights, tensor.usual / size)

    @cached_property
    def chain(self) -> Chain | None:
        return chain_of(self)


def is_off(ratio: float) -> bool:
    return ratio > 0.0 and not 1.0 / OFF < ratio < OFF


class Scaling(NamedTuple):
    """Weights of a tensor, by their places among the parameters, and a factor for them."""

    name: str
    weights: tuple[int, ...]
    factor: float

    def __str__(self) -> str:
        return f"{self.name} {times(self.factor)}"


def times(factor: float) -> str:
    """A factor in words: "× 1,583", "÷ 43", "÷ 3.2"."""
    sign, x = ("×", factor) if factor >= 1.0 else ("÷", 1.0 / factor)
    return f"{sign} {x:,.0f}" if 10 <= x < 1e6 else f"{sign} {short(x, 2)}"


# --- where they apply ----------------------------------------------------------------------------

Places = Callable[[Case], Iterable[Any]]


def where(*verdicts: str) -> Places:
    """Once, where a finding has one of these verdicts."""
    return lambda case: [None] * case.has(verdicts)


def killed(case: Case) -> bool:
    """Whether so many ReLUs are dead that steps must have killed them."""
    return len(case.dead) > MANY * len(case.gauge.relus)


def not_standard(case: Case) -> list[None]:
    """Once, where inputs have a finding, or steps have killed ReLUs that such inputs feed."""
    mean, spread = case.X.mean(axis=0), case.X.std(axis=0)
    standard = (abs(mean) <= NEAR).all() and (abs(spread - 1.0) <= NEAR).all()
    return [None] * bool(case.has(INPUTS) or (killed(case) and not standard))


def blown_up(case: Case) -> list[int]:
    """Once, where steps are too large, or have killed many ReLUs: how many can be nudged."""
    return [len(case.dead)] * (killed(case) or case.has(BLOWN))


def dead_ones(case: Case) -> list[int]:
    return [len(case.dead)] * bool(case.dead)


def alone(case: Case) -> list[Scaling]:
    return case.scalings[:ALONE]


def together(case: Case) -> list[int]:
    """Once, where there is more than one thing to mend: how many."""
    n = bool(case.dead) + len(case.scalings)
    return [n] * (n > 1)


def drawn_alike(case: Case) -> Iterator[Tensor]:
    """The tensors of zeros, or of equal rows."""
    for finding in case.checkup.findings:
        if finding.verdict in ("zero weights", "copies"):
            yield from (t for t in case.tensors if finding.where in (t.name, t.layer))


def off_scale(case: Case) -> list[int]:
    """Once, where gradients vanish or explode by layers whose weights no other finding blames."""
    n = sum(is_off(tensor.ratio) for tensor in case.tensors)
    choked = case.has(("sigmoid chain", "vanishing", "exploding"))
    return [n] * (choked and n > 1 and not case.scalings)


def choked_but_for(activation: str) -> Places:
    """Once, where a chain of another activation lets no gradient, or too much of it, through."""
    return lambda case: (
        [None] * bool(case.has(CHOKED) and case.chain and case.chain.activation != activation)
    )


def choked_and_square(case: Case) -> list[None]:
    """Once, where such a chain has a layer as wide as its inputs."""
    chain = case.chain if choked_but_for("linear")(case) else None
    hidden = chain.widths[:-1] if chain else []
    return [None] * any(n == m for n, m in zip(hidden, hidden[1:]))


# --- what they change ----------------------------------------------------------------------------


class Standardised(Module):
    """A net behind its inputs less their mean, over their spread, column by column.

    Columns that are constant on the data stay as they are.
    """

    _buffers = ("mean", "spread")

    def __init__(self, net: Module, X: Array) -> None:
        spread = X.std(axis=0)
        still = spread == 0.0
        self.mean = np.where(still, 0.0, X.mean(axis=0)).tolist()
        self.spread = np.where(still, 1.0, spread).tolist()
        self.net = net

    def __call__(self, x: Any) -> Any:
        return self.net(_standardised(nested(x), self.mean, self.spread))


def _standardised(x: Any, mean: Any, spread: Any) -> Any:
    if isinstance(x, list):
        return [_standardised(*parts) for parts in zip(x, mean, spread, strict=True)]
    return (x - mean) / spread


def standardised(case: Case, model: Module, place: None) -> Module:
    return Standardised(model, case.X)


def as_before(case: Case, model: Module, place: Any) -> Module:
    return model


def nudged(case: Case, model: Module, place: Any) -> Module:
    """Give each dead ReLU the bias at which half of the rows switch it on, layer by layer."""
    parameters = model.parameters()
    for _, keys in groupby(case.dead, key=lambda key: key[0]):
        layer = [*keys]
        for key, z in zip(layer, case.gauge.zs_of(model, layer)):
            if z.max() <= 0.0:  # else a layer below has revived it
                parameters[case.named[bias_of(key)]].data -= float(np.median(z))
    return model


def bias_of(key: Key) -> str:
    return f"{key[0]}.bias[{key[1]}]"


def scaled(case: Case, model: Module, scaling: Scaling) -> Module:
    parameters = model.parameters()
    for k in scaling.weights:
        parameters[k].data *= scaling.factor
    return model


def all_scaled(case: Case, model: Module, place: Any) -> Module:
    parameters = model.parameters()
    for tensor in case.tensors:
        for p in flat([*tensor.rows.values()]):
            if is_off(tensor.ratio) and p in case.places:
                parameters[case.places[p]].data /= tensor.ratio
    return model


def mended(case: Case, model: Module, place: Any) -> Module:
    """Bring all blamed weights to scale; then nudge what is still dead."""
    for scaling in case.scalings:
        scaled(case, model, scaling)
    return nudged(case, model, place)


def redrawn(case: Case, model: Module, tensor: Tensor) -> Module:
    rng, parameters = random.Random(case.seed), model.parameters()
    for p in flat([*tensor.rows.values()]):
        parameters[case.places[p]].data = rng.gauss(0.0, tensor.usual)
    return model


# --- other nets ----------------------------------------------------------------------------------


class Chain(NamedTuple):
    """Dense layers in turn: widths from the inputs on, the activation between, that at the end."""

    widths: list[int]
    activation: str
    end: str

    def built(self, activation: str, seed: int, norm: bool = False, skip: bool = False) -> Stack:
        """A net of these widths; its weights are drawn as is usual for the activation."""
        rng, draw = random.Random(seed), INITIALISERS.get(activation, glorot)
        bend = activations()[activation]
        *hidden, last = zip(self.widths, self.widths[1:])
        parts: list[Any] = []
        for n, m in hidden:
            layer = Layer(n, m, None if norm else bend, draw, rng)
            parts.append(Residual(layer) if skip and n == m else layer)
            if norm and bend:
                parts += [LayerNorm(m), partial(each, bend)]
        end = None if self.end == "softmax" else activations()[self.end]
        parts.append(Layer(*last, end, glorot, rng))
        return Stack(parts + [softmax] * (self.end == "softmax"))


class Stack(Module):
    """Parts in turn."""

    def __init__(self, parts: list[Any]) -> None:
        self.layers = parts

    def __call__(self, xs: Any) -> Any:
        for part in self.layers:
            xs = part(xs)
        return xs


def each(function: Callable[[Value], Value], xs: Any) -> list[Value]:
    return [function(x) for x in nested(xs)]


def softmax(zs: list[Value]) -> list[Value]:
    minus = -logsumexp(zs)
    return [(z + minus).exp() for z in zs]


def for_sigmoid(nin: int, nout: int, rng: random.Random) -> float:
    """Four times Glorot's, as a sigmoid's slope at 0 is ¼."""
    return 4.0 * glorot(nin, nout, rng)


INITIALISERS: dict[str, Callable[[int, int, Any], float]] = {
    **dict.fromkeys(("relu", "leaky_relu", "elu", "gelu", "silu", "softplus"), he),
    "sigmoid": for_sigmoid,
}
ENDS = ("linear", "sigmoid", "tanh", "relu", "softplus", "softmax")


def chain_of(case: Case) -> Chain | None:
    """The net as a chain of dense layers, if it is one: then its twin gives the same outputs."""
    found = [*tensors(case.model)]
    widths = _widths([shape(tensor) for _, tensor in found])
    if len(widths) < 3 or case.X.shape[1:] != (widths[0],):
        return None
    last = found[-1][0].rpartition(".")[0]
    rows = case.checkup.neurons.rows
    between = {row["activation"] for row in rows if row["layer"] != last} or {"linear"}
    if len(between) > 1 or not between <= {*activations()}:
        return None
    weights, activation = [[p.data for p in flat(tensor)] for _, tensor in found], between.pop()
    for end in ENDS if widths[-1] > 1 else ENDS[:-1]:
        chain = Chain(widths, activation, end)
        if _agrees(chain.built(chain.activation, 0), weights, case):
            return chain
    return None


def _widths(shapes: Sequence[Any]) -> list[int]:
    """The widths of weights and biases that follow each other; [] for other tensors."""
    widths: list[int] = []
    for weight, bias in zip(shapes[::2], [*shapes[1::2], None]):
        if len(weight) != 2 or bias != weight[:1] or (widths and weight[1] != widths[-1]):
            return []
        widths += [weight[0]] if widths else [weight[1], weight[0]]
    return widths


def _agrees(twin: Module, weights: list[list[float]], case: Case) -> bool:
    """Whether a net with these weights gives the outputs of the case's own."""
    for (_, tensor), numbers in zip(tensors(twin), weights):
        for p, x in zip(flat(tensor), numbers):
            p.data = x
    rows = case.X[:: math.ceil(len(case.X) / ROWS)].tolist()
    with in_use(case.model):
        one, other = (
            np.array([[y.data for y in flat(nested(net(x)))] for x in rows])
            for net in (case.model, twin)
        )
    return one.shape == other.shape and bool(
        np.allclose(one, other, rtol=SAME, atol=SAME * np.abs(one).max(initial=0.0))
    )


def anew(activation: str = "", **choices: bool) -> Callable[[Case, Module, Any], Module]:
    """Another net of the same widths; "" keeps the activation."""

    def change(case: Case, model: Module, place: None) -> Module:
        assert case.chain is not None
        return case.chain.built(activation or case.chain.activation, case.seed, **choices)

    return change


# --- the table -----------------------------------------------------------------------------------


class Remedy(NamedTuple):
    """One thing that may help.

    words:  its name, of a place; `{}` is the place
    places: what it applies to, of a case; nothing where it doesn't
    change: makes a net of (case, a copy of the net, place); a new one leaves the net as it is
    step:   what the reader's step size is multiplied by
    graph:  "same" as before, "wrapped" by another, or "new", with parameters of its own
    """

    words: str | Callable[[Any], str]
    places: Places
    change: Callable[[Case, Module, Any], Module]
    step: float = 1.0
    graph: str = "same"


def nudging(n: int) -> str:
    return f"nudging {count(n, 'bias', 'biases')}"


def smaller_step(n: int) -> str:
    return "nudging at step ÷ 10" if n else "step ÷ 10"


def all_of(n: int) -> str:
    return {2: "both of these", 3: "all three"}.get(n, f"all {n} of these")


REMEDIES = (
    Remedy("inputs standardised", not_standard, standardised, graph="wrapped"),
    Remedy(nudging, dead_ones, nudged),
    Remedy(smaller_step, blown_up, nudged, step=0.1),
    Remedy("step × 10", where("small step"), as_before, step=10.0),
    Remedy(str, alone, scaled),
    Remedy(all_of, together, mended),
    Remedy(lambda n: f"{n} tensors to scale", off_scale, all_scaled),
    Remedy(lambda tensor: f"{tensor.name} drawn anew", drawn_alike, redrawn),
    Remedy("new ReLU net (He)", choked_but_for("relu"), anew("relu"), graph="new"),
    Remedy("new tanh net (Glorot)", choked_but_for("tanh"), anew("tanh"), graph="new"),
    Remedy("new net with skips", choked_and_square, anew(skip=True), graph="new"),
    Remedy("new net with norms", choked_but_for("linear"), anew(norm=True), graph="new"),
)  # fmt: skip


class Candidate(NamedTuple):
    """What is tried.

    name: in words
    make: gives the net that is trained, which nothing else reads
    step: what the step size is multiplied by
    graph: as of a remedy
    """

    name: str
    make: Callable[[], Module]
    step: float = 1.0
    graph: str = "same"


def copied(model: Module) -> Module:
    """A deep copy, in evaluation mode."""
    return copy.deepcopy(model).eval()


def candidates(case: Case) -> list[Candidate]:
    """The net as it is, and the remedies that apply, in the order of the table."""
    found = [Candidate(AS_IT_IS, partial(copied, case.model))]
    for remedy in REMEDIES:
        for place in remedy.places(case):
            words = remedy.words if isinstance(remedy.words, str) else remedy.words(place)
            make = partial(_made, remedy, case, place)
            found.append(Candidate(clean(words), make, remedy.step, remedy.graph))
    return found[: 1 + MOST]


def _made(remedy: Remedy, case: Case, place: Any) -> Module:
    model = case.model if remedy.graph == "new" else copied(case.model)
    return remedy.change(case, model, place).eval()
