"""The reader's own optimiser, made again for the parameters of a copy."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterable, Sequence
from typing import Any

from microgradx._base.arguments import number
from microgradx._base.text import clean, count, kind_of, short
from microgradx.engine import Value
from microgradx.nn.module import Module
from microgradx.optim import SGD, Adam


class AdamW(Adam):
    """p ← p - lr · weight_decay · p, then Adam's step (Loshchilov and Hutter 2019)."""

    def __init__(
        self,
        parameters: Iterable[Value],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def move(self, xp: Any, parameters: Sequence[Any], state: dict[str, list[Any]]) -> None:
        kept = 1.0 - number(self.lr) * self.weight_decay
        for p in parameters:
            p.data *= kept
        super().move(xp, parameters, state)

    def _gradients(self, parameters: Sequence[Any]) -> list[Any]:
        return [p.grad for p in parameters]


MOVES = ("parameters", "state", "move")  # of every optimiser that `fit` takes
# PyTorch's by name: the class that has its formula, and the settings of which that knows nothing.
TORCH: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "SGD": (SGD, ("dampening", "nesterov", "maximize")),
    "Adam": (Adam, ("amsgrad", "maximize", "decoupled_weight_decay")),
    "AdamW": (AdamW, ("amsgrad", "maximize")),
}
OWN = "pass a function, such as lambda parameters: mx.optim.SGD(parameters, lr=0.1)"


def for_parameters(optimizer: Any, model: Module | None, parameters: Sequence[Value]) -> Any:
    """An optimiser like the reader's that moves other parameters.

    optimizer:  None for Adam, as in `fit`; an `mx.optim` object, or one like it; PyTorch's SGD,
                Adam or AdamW; a function from parameters to an optimiser
    model:      the net that the optimizer is of; None where `parameters` are of another net
    parameters: those of `model` or of a copy of it, in their order

    On a copy it moves the twins of what the reader's moves, and its state goes on from there; on
    another net it moves all, with a fresh state. So does PyTorch's, of the net that was adopted.
    The reader's stays as it is. A name, parameters that are not the net's, or settings that can't
    be followed are a ValueError, anything else a TypeError.
    """
    parameters = [*parameters]
    if optimizer is None:
        return Adam(parameters)
    if isinstance(optimizer, str):
        raise ValueError(f"the optimizer {optimizer[:40]!r} is a name without a step size; {OWN}")
    if not isinstance(optimizer, type):
        if all(hasattr(optimizer, name) for name in MOVES):
            return _twin(optimizer, model, parameters)
        if _is_torch(type(optimizer)):
            return _of_torch(optimizer, model, parameters)
    elif _is_torch(optimizer):
        raise TypeError(f"{optimizer.__name__} is PyTorch's class; pass an optimizer made of it")
    if callable(optimizer):
        return _made(optimizer, parameters)
    raise TypeError(f"an optimizer is one of mx.optim or of PyTorch, got {kind_of(optimizer)}")


def words(optimizer: Any) -> str:
    """Its name, its step size, and the settings that aren't the usual ones: "SGD 0.1"."""
    usual = inspect.signature(type(optimizer)).parameters
    facts = [
        f"{name.replace('_', ' ')} {_number(held)}"
        for name, held in _settings(optimizer).items()
        if name != "lr" and held != usual[name].default
    ]
    step = f" {_number(optimizer.lr)}" if hasattr(optimizer, "lr") else ""
    return clean(", ".join([f"{type(optimizer).__name__}{step}", *facts]))


def _number(held: Any) -> str:
    if isinstance(held, tuple):
        return f"({', '.join(map(_number, held))})"
    return short(held, 4) if isinstance(held, (int, float)) else f"{held}"


def _settings(optimizer: Any) -> dict[str, Any]:
    """What it was made with, but for the parameters."""
    names = [*inspect.signature(type(optimizer)).parameters][1:]
    return {name: getattr(optimizer, name) for name in names if hasattr(optimizer, name)}


# --- the three kinds -----------------------------------------------------------------------------


def _made(function: Any, parameters: list[Value]) -> Any:
    """What a function makes of parameters; they must be these."""
    found = function(parameters)
    if not all(hasattr(found, name) for name in MOVES):
        raise TypeError(
            f"a function of parameters returns an optimizer, as mx.optim.SGD is, got "
            f"{kind_of(found)}"
        )
    _refuse_strange(found, parameters, "the parameters that it is called with")
    return found


def _twin(optimizer: Any, model: Module | None, parameters: list[Value]) -> Any:
    """A copy that moves twins with a copy of the state; or one of its class, with its settings."""
    if model is None:
        try:
            return type(optimizer)(parameters, **_settings(optimizer))
        except TypeError as error:
            kind = clean(type(optimizer).__name__)
            raise ValueError(f"{kind} can't be made for another net: {error}; {OWN}") from None
    own = model.parameters()
    _refuse_strange(optimizer, own, "model.parameters()")
    return copy.deepcopy(optimizer, {id(p): twin for p, twin in zip(own, parameters, strict=True)})


def _refuse_strange(optimizer: Any, own: Sequence[Value], source: str) -> None:
    known = {*own}
    strange = [p for p in optimizer.parameters if p not in known]
    if strange:
        raise ValueError(
            f"the optimizer moves {count(len(strange), 'parameter')} not of the net, such as "
            f"{strange[0]!r:.60}; make it of {source}"
        )


def _is_torch(kind: type) -> bool:
    return any(base.__module__.startswith("torch.optim") for base in kind.__mro__)


def _of_torch(optimizer: Any, model: Module | None, parameters: list[Value]) -> Any:
    """Ours with the settings of PyTorch's, read from its param_groups."""
    kind = type(optimizer)
    if kind.__name__ not in TORCH or not kind.__module__.startswith("torch.optim"):
        known = ", ".join(TORCH)
        raise ValueError(f"the optimizer {clean(kind.__name__)} is not one of {known}; {OWN}")
    made, unknown = TORCH[kind.__name__]
    group = _group(optimizer)
    _refuse_settings(kind.__name__, group, unknown)
    names = [*inspect.signature(made).parameters][1:]
    settings = {name: _plain(group[name]) for name in names if name in group}
    if model is not None and (twins := getattr(model, "twins", [])):
        return _gone_on(optimizer, made, settings, twins, model.parameters(), parameters)
    moved = sum(math.prod(p.shape) for each in optimizer.param_groups for p in each["params"])
    if model is not None and moved != len(parameters):
        raise ValueError(
            f"the optimizer moves {moved:,} of the net's {count(len(parameters), 'parameter')}, "
            "and which can't be told here; pass a function that picks them: "
            "lambda parameters: mx.optim.SGD(parameters[:100], lr=0.1)"
        )
    return made(parameters, **settings)


# By ours, the names in PyTorch's state of what one step leaves for the next.
KEPT = {"velocity": "momentum_buffer", "means": "exp_avg", "squares": "exp_avg_sq"}


def _gone_on(
    optimizer: Any, made: Any, settings: dict[str, Any], twins: Sequence[tuple[Any, list[Value]]],
    own: Sequence[Value], parameters: Sequence[Value],
) -> Any:  # fmt: skip
    """Ours of the same parameters, with the state that PyTorch's has by now."""
    known = {id(p): values for p, values in twins}
    place = {p: k for k, p in enumerate(own)}
    moved = [p for group in optimizer.param_groups for p in group["params"]]
    if strange := [p for p in moved if id(p) not in known]:
        raise ValueError(
            f"the optimizer moves {count(len(strange), 'tensor')} not of the net, such as one of "
            f"the shape {tuple(strange[0].shape)}; make it of net.parameters(), after the net"
        )
    values = [[parameters[place[x]] for x in known[id(p)]] for p in moved]
    found = made([x for each in values for x in each], **settings)
    for name in found.state:
        numbers: list[float] = []
        for p, each in zip(moved, values):
            held = optimizer.state.get(p, {}).get(KEPT[name])
            numbers += (
                [0.0] * len(each) if held is None else held.detach().double().ravel().tolist()
            )
        found.state[name] = numbers
    steps = [int(optimizer.state[p]["step"]) for p in moved if "step" in optimizer.state.get(p, {})]
    if steps:
        found._steps = max(steps)
    return found


def _plain(setting: Any) -> Any:
    """A setting as numbers; a tensor of one is one."""
    return tuple(map(number, setting)) if isinstance(setting, (tuple, list)) else number(setting)


def _group(optimizer: Any) -> dict[str, Any]:
    """The settings of all its groups; a ValueError where they differ."""
    first, *others = optimizer.param_groups
    for k, group in enumerate(others, 1):
        for name, held in first.items():
            if name not in ("params", "param_names") and group.get(name) != held:
                raise ValueError(
                    f"the optimizer has another {clean(name)} for its group {k}, "
                    f"{group.get(name)}, than for group 0, {held}; one for all can be tried: {OWN}"
                )
    found: dict[str, Any] = first
    return found


def _refuse_settings(kind: str, group: dict[str, Any], unknown: Sequence[str]) -> None:
    for name in unknown:
        if group.get(name):
            raise ValueError(f"{kind} with {name}={group[name]} can't be tried here; {OWN}")
