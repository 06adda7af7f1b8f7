"""A neuron is one dot and one activation; layers of them make the multi-layer perceptron.

Everything here is made of the engine's ops and adds no derivative of its own.
"""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from microgradx import rules
from microgradx._base import hints
from microgradx._base.arguments import chosen, whole
from microgradx.engine import Value
from microgradx.nn.module import Module, join, label_parts, sample_row, title
from microgradx.ops import dot, dots

# The names are spelt out for type checkers; tests/test_types.py compares them with the tables.
ActivationName = Literal[
    "linear", "abs", "sqrt", "exp", "log", "sin", "cos", "relu", "leaky_relu", "elu", "sigmoid",
    "tanh", "softplus", "gelu", "silu",
]  # fmt: skip
InitialiserName = Literal["he", "glorot", "lecun", "uniform"]
Activation = Callable[[Value], Value]
Initialiser = Callable[[int, int, Any], float]
Seed = int | random.Random | None
NONLIN = "write activation=None for nonlin=False"

if TYPE_CHECKING:

    class Outputs(Value, list[Value]):  # type: ignore[misc]
        """For type checkers: a list of Values or the only one, which may be used as either."""


class Neuron(Module):
    """activation(bias + Σ weight[i] · x[i]): one dot node, labelled `….z`, and the activation's.

    activation, init, seed: as for `MLP`; nout is the width of its layer, for glorot's variance.
    Sizes that are not whole are a TypeError, those below 1 a ValueError.
    """

    _z = "z"  # the label of its pre-activation: kept, as a forward pass takes 3 % less

    @hints.refusing(nonlin=NONLIN)
    def __init__(
        self,
        nin: int,
        activation: ActivationName | Activation | None = "relu",
        init: InitialiserName | Initialiser = "he",
        seed: Seed = None,
        nout: int = 1,
    ) -> None:
        nin, nout = whole("nin", nin), whole("nout", nout)
        activation, rng = _activation(activation), _generator(seed)
        draw = chosen("init", init, INITIALISERS)
        self.weight = tuple([Value(draw(nin, nout, rng)) for _ in range(nin)])
        self.bias = Value(0.0)
        self.activation = activation
        self.init = _name(draw)

    def extra_repr(self) -> str:
        return f"{len(self.weight)} → 1, {_name(self.activation)}, {self.init}"

    def __call__(self, xs: Any) -> Value:
        """The output for one sample: numbers or Values, as many as it has weights."""
        row = sample_row(xs, len(self.weight), self)
        return self.activate(dot(self.weight, row, self.bias))

    def activate(self, z: Value) -> Value:
        """The output, given the pre-activation z; both nodes get their labels."""
        z.label = self._z
        y = z if self.activation is None else self.activation(z)
        if not isinstance(y, Value):
            raise TypeError(f"the activation of {title(self)} must return a Value, got {y!r}")
        y.label = self._path
        return y

    def _called(self, path: str) -> None:
        super()._called(path)
        self._z = join(path, "z")


hints.answer_for(Neuron, "a Neuron", hints.NEURON)


class Layer(Module):
    """`nout` neurons that read the same `nin` inputs; arguments and errors as for `Neuron`.

    Its parameters are `weight`, nout × nin, and `bias`; they live in `neurons`.
    """

    @hints.refusing(nonlin=NONLIN)
    def __init__(
        self,
        nin: int,
        nout: int,
        activation: ActivationName | Activation | None = "relu",
        init: InitialiserName | Initialiser = "he",
        seed: Seed = None,
    ) -> None:
        self.nin, nout = whole("nin", nin), whole("nout", nout)
        rng = _generator(seed)
        self.neurons = [Neuron(nin, activation, init, rng, nout) for _ in range(nout)]
        label_parts(self, "")

    def extra_repr(self) -> str:
        ends = dict.fromkeys(_name(neuron.activation) for neuron in self.neurons)
        return f"{self.nin} → {len(self.neurons)}, {' and '.join(ends)}, {self.neurons[0].init}"

    def __call__(self, xs: Any) -> Outputs:
        """For one sample, a list of Values, or the only neuron's Value."""
        row = sample_row(xs, self.nin, self)
        neurons = self.neurons
        zs = dots([n.weight for n in neurons], row, [n.bias for n in neurons])
        ys = [n.activate(z) for n, z in zip(neurons, zs)]
        return cast("Outputs", ys[0] if len(ys) == 1 else ys)

    def _parts(self) -> Mapping[str, Any]:
        own = {name: part for name, part in vars(self).items() if name != "neurons"}
        weight = [neuron.weight for neuron in self.neurons]
        bias = [neuron.bias for neuron in self.neurons]
        return {"weight": weight, "bias": bias, "activation": self.neurons[0].activation, **own}

    def _called(self, path: str) -> None:
        super()._called(path)
        for i, neuron in enumerate(self.neurons):
            neuron._called(f"{path}[{i}]")


class MLP(Module):
    """A multi-layer perceptron: micrograd's `MLP(2, [16, 16, 1])`, with more to choose.

    nin, nouts: the number of inputs, and of neurons in each layer
    activation: of the hidden layers: a name (see `activations`), a callable from Value to Value,
                or None for none
    output:     the same for the last layer
    init:       a name in `INITIALISERS`, or a callable (nin, nout, rng) -> float for each weight;
                biases start at 0
    seed:       an int, a random.Random, or None for Python's own `random`, as random.seed left it

    >>> model = MLP(2, [16, 16, 1], seed=1)
    >>> model, model([0.5, -1.0]).label
    (<MLP of 337 parameters>, 'layers.2[0]')

    A wrong size or name is a TypeError or ValueError before any weight is drawn.
    """

    @hints.refusing(nonlin=NONLIN)
    def __init__(
        self,
        nin: int,
        nouts: Iterable[int],
        activation: ActivationName | Activation | None = "relu",
        output: ActivationName | Activation | None = None,
        init: InitialiserName | Initialiser = "he",
        seed: Seed = None,
    ) -> None:
        if isinstance(nouts, str) or not isinstance(nouts, Iterable):
            raise TypeError(f"nouts is a list of layer sizes such as [16, 16, 1], got {nouts!r}")
        widths = [whole("nin", nin), *[whole(f"nouts[{i}]", n) for i, n in enumerate(nouts)]]
        if len(widths) == 1:
            raise ValueError("nouts is empty; give the number of neurons of at least one layer")
        activation, output = _activation(activation), _activation(output)
        draw, rng = chosen("init", init, INITIALISERS), _generator(seed)
        ends = [activation] * (len(widths) - 2) + [output]
        self.layers = [Layer(n, m, end, draw, rng) for n, m, end in zip(widths, widths[1:], ends)]

    def __call__(self, xs: Any) -> Outputs:
        """For one sample, a list of Values, or a Value if the last layer has one neuron."""
        ys: Any = xs
        for layer in self.layers:
            ys = layer(ys)
        return cast("Outputs", ys)


# --- what a module can be asked to be ----------------------------------------------------------


def activations() -> dict[str, Activation | None]:
    """Every activation that has a name: the ops of one operand, "silu" and "linear"."""
    ops = [
        name
        for name, rule in rules.TABLE.items()
        if len(rule.operands) - len(rule.defaults) == 1
        and not (rule.operator or rule.lists or rule.silent)
    ]
    return {"linear": None, **{name: getattr(Value, name) for name in ops}, "silu": Value.silu}


def he(nin: int, nout: int, rng: random.Random) -> float:
    """N(0, 2/nin), which keeps the variance through ReLUs (He et al. 2015)."""
    return rng.gauss(0.0, math.sqrt(2.0 / nin))


def glorot(nin: int, nout: int, rng: random.Random) -> float:
    """U(±√(6 / (nin + nout))), for tanh (Glorot and Bengio 2010)."""
    limit = math.sqrt(6.0 / (nin + nout))
    return rng.uniform(-limit, limit)


def lecun(nin: int, nout: int, rng: random.Random) -> float:
    """N(0, 1/nin), which keeps the variance through linear layers (LeCun et al. 1998)."""
    return rng.gauss(0.0, math.sqrt(1.0 / nin))


def uniform(nin: int, nout: int, rng: random.Random) -> float:
    """U(-1, 1), micrograd's."""
    return rng.uniform(-1.0, 1.0)


INITIALISERS: dict[str, Initialiser] = {
    "he": he, "glorot": glorot, "lecun": lecun, "uniform": uniform,
}  # fmt: skip


def _activation(choice: ActivationName | Activation | None) -> Activation | None:
    return None if choice is None else chosen("activation", choice, activations())


def _name(choice: Callable[..., Any] | None) -> str:
    """The name of an activation or an initialiser."""
    return "linear" if choice is None else getattr(choice, "__name__", type(choice).__name__)


def _generator(seed: Any) -> Any:
    """The generator of the weights: the module `random` for None, or an object like it."""
    if seed is None:
        return random
    if hasattr(seed, "gauss"):
        return seed
    try:
        return random.Random(operator.index(seed))
    except TypeError:
        raise TypeError(f"a seed is an int, a random.Random or None, got {seed!r:.60}") from None
