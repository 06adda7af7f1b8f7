"""An optimiser moves parameters against their gradients: SGD and Adam, in PyTorch's formulas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from microgradx._base import floats
from microgradx._base.arguments import number, within
from microgradx._base.text import kind_of
from microgradx.engine import Value, grads_in, numbers_in, put_numbers, zero_grads

__all__ = ["Optimizer", "SGD", "Adam"]

State = dict[str, list[Any]]


class Optimizer:
    """The base of SGD and Adam: parameters, the step size `lr`, the L2 penalty `weight_decay`.

    `lr` may be changed between steps. No parameters, the same one twice, or one that was computed
    is a ValueError; anything but Values is a TypeError. `state` holds, by name, the numbers that
    one step leaves for the next: one for each parameter, in the order of `parameters`.
    """

    kept: tuple[str, ...] = ()  # the names in `state`

    def __init__(self, parameters: Iterable[Value], lr: float, weight_decay: float) -> None:
        self.parameters = _checked(parameters)
        self.lr = within("lr", lr)
        self.weight_decay = within("weight_decay", weight_decay)
        self.state: State = {name: [0.0] * len(self.parameters) for name in self.kept}
        self._copies: list[_Copy] = []

    def zero_grad(self) -> None:
        """Set the grad of every parameter to 0; all of them, or none after Ctrl-C."""
        zero_grads(self.parameters)

    def step(self) -> None:
        """Move every parameter once; after an exception, Ctrl-C among them, all is as it was."""
        parameters = self.parameters
        if len(self._copies) != len(parameters):
            self._copies = [_Copy() for _ in parameters]
        before, copies = numbers_in(parameters), self._copies
        own = {**vars(self), "state": {name: [*numbers] for name, numbers in self.state.items()}}
        try:
            for copy, x, grad in zip(copies, before, grads_in(parameters)):
                copy.data = x
                copy.grad = grad
            self.move(floats, copies, self.state)
            put_numbers(parameters, [copy.data for copy in copies])
        except BaseException:
            put_numbers(parameters, before)
            vars(self).update(own)
            raise

    def move(self, xp: Any, parameters: Sequence[Any], state: State) -> None:
        """Move each of `parameters` once, and keep in `state` the numbers for the next step.

        The formula, for numbers and for arrays alike: each of `parameters` has its data and its
        grad. With `numpy` for xp, one "parameter" whose data and grad are flat arrays is as many
        numbers, and its data is changed in place.
        """
        raise NotImplementedError

    def _gradients(self, parameters: Sequence[Any]) -> list[Any]:
        """∂loss/∂p + weight_decay · p for each parameter p."""
        decay = self.weight_decay
        if decay:
            return [p.grad + decay * p.data for p in parameters]
        return [p.grad for p in parameters]


class _Copy:
    """The data and grad of a parameter while a step is worked out: it moves when all of it is."""

    __slots__ = ("data", "grad")
    data: float
    grad: float


class SGD(Optimizer):
    """p ← p - lr · v with v ← momentum · v + g, and v = 0 at first (torch.optim.SGD).

    >>> p = Value(1.0)
    >>> optimizer = SGD([p], lr=0.1)
    >>> (3 * p).backward()
    >>> optimizer.step()
    >>> p.data
    0.7
    """

    kept = ("velocity",)

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.momentum = within("momentum", momentum)

    def move(self, xp: Any, parameters: Sequence[Any], state: State) -> None:
        lr, momentum, velocity = number(self.lr), self.momentum, self._gradients(parameters)
        if momentum:
            velocity = [momentum * v + g for v, g in zip(state["velocity"], velocity)]
            state["velocity"] = velocity
        for p, v in zip(parameters, velocity):
            p.data -= lr * v


class Adam(Optimizer):
    """p ← p - lr · m̂ / (√v̂ + eps) (Kingma and Ba 2015; torch.optim.Adam).

    m and v are the running means of g and g², with the weights `betas`; the hats divide them by
    1 - betaᵗ at step t. The weight decay is part of g. Beyond 1e155 (1e20 in float32) v is inf,
    and the parameter stays where it is from then on, as in PyTorch; below 1e-160 (1e-21) g adds
    nothing to v, which is to be seen only if eps is as small.
    """

    kept = ("means", "squares")

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"betas are two numbers, such as (0.9, 0.999), got {betas!r}")
        beta1, beta2 = betas
        self.betas = within("betas[0]", beta1, below=1.0), within("betas[1]", beta2, below=1.0)
        self.eps = within("eps", eps)
        if not self.eps:
            raise ValueError("eps must be above 0, or a parameter without gradient divides by 0")
        self._steps = 0

    def move(self, xp: Any, parameters: Sequence[Any], state: State) -> None:
        lr, (beta1, beta2), eps = number(self.lr), self.betas, self.eps
        self._steps += 1
        root = floats.sqrt(_fresh(beta2, self._steps))
        rate, least = lr * root / _fresh(beta1, self._steps), eps * root
        sqrt, fresh1, fresh2 = xp.sqrt, 1.0 - beta1, 1.0 - beta2
        means, squares = [], []
        for p, g, m, v in zip(
            parameters, self._gradients(parameters), state["means"], state["squares"]
        ):
            m *= beta1  # m + fresh1 · (g - m) would lose a small g beside a large m
            m += fresh1 * g
            v *= beta2
            v += fresh2 * g * g
            p.data -= rate * m / (sqrt(v) + least)
            means.append(m)
            squares.append(v)
        state["means"], state["squares"] = means, squares


def __dir__() -> list[str]:
    return __all__


def _fresh(beta: float, steps: int) -> float:
    """1 - betaˢ, which a difference would have few digits of at the first steps."""
    return -floats.expm1(steps * floats.log(beta))


def _checked(parameters: Any) -> list[Value]:
    """The parameters as a list, if each is a leaf and none is there twice."""
    if not isinstance(parameters, Iterable):
        raise TypeError(
            f"an optimiser takes a list of Values, got {kind_of(parameters)}; try .parameters()"
        )
    found = list(parameters)
    if not found:
        raise ValueError("an optimiser of no parameters; pass model.parameters()")
    for i, p in enumerate(found):
        if not isinstance(p, Value):
            raise TypeError(f"parameter {i} is {kind_of(p)}, not a Value; use model.parameters()")
        if p.rule is not None:
            raise ValueError(f"parameter {i} is computed, {p!r}; only leaves can be moved")
    if len(set(found)) < len(found):
        raise ValueError("a parameter is listed twice and would move twice a step; list it once")
    return found
