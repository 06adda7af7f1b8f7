"""A model as a tree in words: a line a module, and what is off or saturated in a graph of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from microgradx._base.text import clean, count, on_all
from microgradx.engine import Value
from microgradx.explain.layers import Survey, off_or_saturated
from microgradx.explain.samples import Layer, net_of

if TYPE_CHECKING:
    from microgradx.nn.module import Module


class Tree(str):
    """Text that shows itself as it is, at a prompt and in a notebook too."""

    def __repr__(self) -> str:
        return str(self)


def tree(parts: Iterable[tuple[str, Module]], loss: Value | None) -> Tree:
    """The modules of a model by path, itself first, each with its facts and its parameters.

    loss: adds what a gradient meets in its graph. Not a Value is a TypeError, a graph without a
          neuron of the model a ValueError
    """
    modules = list(parts)
    states = {} if loss is None else _states(modules[0][1], loss)
    paths: dict[Module, str] = {}
    rows: list[tuple[str, str, str, str]] = []
    for path, module in modules:
        first = paths.setdefault(module, path)
        depth = sum(not above or path.startswith(f"{above}.") for above, _ in modules[: len(rows)])
        name, size = type(module).__name__, len(module.parameters())
        unit = f" parameter{'s' * (size != 1)}"
        rows.append((
            clean(f"{'  ' * depth}{path}: {name}" if depth else name),
            clean(module.extra_repr() if first == path else f"the same as {first}"),
            f"{size:,}",
            f"{'' if depth else unit}  {states.get(module._path, '')}",
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = (
        f"{name:{widths[0]}}  {facts:{widths[1]}}  {size:>{widths[2]}}{state}".rstrip()
        for name, facts, size, state in rows
    )
    return Tree("\n".join(lines))


def _states(model: Module, loss: Value) -> dict[str, str]:
    """By layer, what is off, saturated or starved in the graph of `loss`."""
    if not isinstance(loss, Value):
        raise TypeError(f"tree takes the Value at the end of a graph, got {loss!r:.60}")
    net, own = net_of(loss), set(model.parameters())
    if net is None or not any(own.intersection(neuron.parameters) for neuron in net.neurons):
        raise ValueError(f"no neuron of this model is in the graph of {loss!r}; pass its own loss")
    survey = Survey(net)
    return {layer.name: _state(layer, survey) for layer in net.layers}


def _state(layer: Layer, survey: Survey) -> str:
    """The state of a layer in words: "off: 2 of 4 neurons on all 3 samples, 1 on some"."""
    neurons, samples = layer.neurons.values(), survey.net.samples
    of = f"of {count(len(neurons), 'neuron')}"
    everywhere = f" {on_all(samples)}" if samples > 1 else ""
    shut, some, flat = off_or_saturated(neurons)
    off = [f"{shut} {of}{everywhere}"] if shut else []
    off += [f"{some}{'' if shut else f' {of}'} on some"] if some else []
    starved = sum(survey.starved([t.y for t in n.turns.values()]) == len(n.turns) for n in neurons)
    states = {"off": ", ".join(off), "saturated": f"{flat} {of}" * bool(flat)}
    states["starved"] = f"{starved} {of}" * bool(starved)
    return "; ".join(f"{name}: {state}" for name, state in states.items() if state)
