"""The signs that a training goes wrong, each said in a sentence while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from microgradx import ops
from microgradx._base.arguments import flat, nested
from microgradx._base.text import clean, count, on_all, short
from microgradx.explain.layers import off_or_saturated
from microgradx.explain.samples import Layer, net_of
from microgradx.train.history import History

if TYPE_CHECKING:
    from microgradx.replay.batch import Array

PATIENCE = 10  # epochs without a fall, as PyTorch's ReduceLROnPlateau has it
FALL = 1e-4  # of the least loss so far: less is none
STILL = 1e-3  # of a loss: it has moved by less
ARRIVED = 0.01  # of the first loss: one below it that stands still has arrived
SHARE = 0.25  # of the neurons: fewer may be off in a net that learns
LOOKED_AT, FEW = 100, 8  # samples, and those of them that are looked at first


class Signs:
    """The sentences to say after an epoch, if any; each sign once.

    settle: is called before the model is looked at, so that it has the parameters of now
    """

    def __init__(self, model: Any, X: Array, y: Array, settle: Callable[[], None]) -> None:
        self.model, self.settle = model, settle
        self.X, self.total = X[:: math.ceil(len(X) / LOOKED_AT)], len(X)
        self.only_signs = set(y.ravel()[:1000].tolist()) == {-1.0, 1.0}
        self.least, self.since, self.due = math.inf, 0, 0
        self.diverged = self.stood = False

    def after(self, history: History) -> str:
        """A sentence about the latest epoch, or ""."""
        n, loss = len(history), history[-1].loss
        if history.diverged and not self.diverged:
            self.diverged = True
            return f"diverged at epoch {n}: the loss is {short(loss)}; try a smaller lr"
        if n == 1 or loss < self.least - FALL * abs(self.least):
            self.least, self.since, self.due = loss, n, n + PATIENCE
        elif n >= self.due and not self.stood:
            self.due = n + n - self.since  # if nothing is wrong, the next look may wait as long
            if abs(loss) >= ARRIVED * abs(history[0].loss):
                reason = self._reason(history.loss[self.since - 1 :])
                self.stood = bool(reason)
                return reason
        return ""

    def _reason(self, losses: list[float]) -> str:
        """Why the loss does not fall; "" if not so many neurons are off or saturated."""
        self.settle()
        reason = ""
        for X in (self.X[:: math.ceil(len(self.X) / FEW)], self.X):
            layers = self._layers(X)
            reason = self._reason_in(layers, losses)
            if not reason and not any(map(_may_saturate, layers)):
                break  # a neuron that is off on all samples is off on a few
        return reason

    def _layers(self, X: Array) -> list[Layer]:
        """The layers with an activation, run on these samples."""
        net = net_of(ops.sum([y for x in X for y in flat(nested(self.model(x.tolist())))]))
        return [layer for layer in net.layers if _bent(layer)] if net else []

    def _reason_in(self, layers: list[Layer], losses: list[float]) -> str:
        counts = {layer: off_or_saturated(layer.neurons.values()) for layer in layers}
        neurons = sum(len(layer.neurons) for layer in layers)
        near = max(abs(x - losses[-1]) for x in losses) <= STILL * abs(losses[-1])
        for kind, words in (0, f"off {self._everywhere()}"), (2, "saturated"):
            number = sum(found[kind] for found in counts.values())
            shut = [layer for layer in layers if counts[layer][kind] == len(layer.neurons)]
            if shut or (near and number > SHARE * neurons):
                some = shut and number < neurons
                among = f", all of {clean(shut[-1].name)} among them" if some else ""
                verb, be = "moved" if near else "fallen", "is" if number == 1 else "are"
                return (
                    f"the loss has not {verb} for {len(losses) - 1} epochs: {number} of "
                    f"{count(neurons, 'neuron')} {be} {words}{among}{self._hint(layers)}"
                )
        return ""

    def _everywhere(self) -> str:
        if len(self.X) == self.total:
            return "on all samples"
        return f"{on_all(len(self.X))} that were looked at"

    def _hint(self, layers: list[Layer]) -> str:
        rules = {neuron.rule for layer in layers for neuron in layer.neurons.values()}
        shuts = all(rule is not None and rule.shut_below is not None for rule in rules)  # as ReLUs
        if not (self.only_signs and shuts):
            return ""
        return (
            ". The targets are ±1, and the lecture's own net for them has tanh: "
            'activation="tanh", output="tanh"'
        )


def _may_saturate(layer: Layer) -> bool:
    return any(x.rule is not None and x.rule.kind == "saturating" for x in layer.neurons.values())


def _bent(layer: Layer) -> bool:
    """Whether a layer has an activation."""
    return any(neuron.activation for neuron in layer.neurons.values())
