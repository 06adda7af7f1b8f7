"""Measurements at the end of an epoch: a loss and metrics on some samples, and gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from microgradx._base.text import element
from microgradx.engine import Value
from microgradx.nn.losses import Metric
from microgradx.nn.module import Module
from microgradx.replay import Replay
from microgradx.replay.batch import outputs

if TYPE_CHECKING:
    from microgradx.replay.batch import Array

    Samples = tuple[Array, Array]  # and their targets


class Measurements:
    """Measures a training run after each epoch.

    replay:       the loss that is trained
    with_outputs: a replay of the loss and every output, for the metrics; without metrics `replay`
    form:         the shape of the outputs of a sample
    """

    def __init__(
        self,
        replay: Replay,
        with_outputs: Replay,
        model: Module,
        metrics: Mapping[str, Metric],
        form: tuple[int, ...],
    ) -> None:
        self.replay, self.with_outputs, self.metrics, self.form = (
            replay,
            with_outputs,
            metrics,
            form,
        )
        self.order = positions(with_outputs.parameters, replay.parameters)
        parameters = dict(zip(replay.parameters, range(len(replay.parameters))))
        self.tensors: dict[str, list[int]] = {}
        for name, p in model.named_parameters():
            if p in parameters:
                self.tensors.setdefault(element(name)[0], []).append(parameters[p])

    def measured(
        self, train: Samples, held_out: Samples | None
    ) -> tuple[float | None, dict[str, float]]:
        """The mean loss of what is held out, and the metrics of it, or else of the rest."""
        if not (held_out or self.metrics):
            return None, {}
        self.with_outputs.data[...] = self.replay.data[self.order]
        X, y = held_out or train
        results = outputs(self.with_outputs, X, y).reshape(len(X), -1)
        loss = float(results[:, 0].mean()) if held_out else None
        if not self.metrics:
            return loss, {}
        predictions = results[:, 1:].reshape(len(X), *self.form)
        return loss, {name: float(metric(predictions, y)) for name, metric in self.metrics.items()}

    def gradients(self) -> dict[str, float]:
        """log10 of the root mean square of each tensor's gradient; -inf where it is 0."""
        sizes, decades = np.abs(self.replay.gradient), {}
        with np.errstate(all="ignore"):  # hypot, because squares underflow
            for name, members in self.tensors.items():
                norm = np.hypot.reduce(sizes[members])
                decades[name] = float(np.log10(norm / np.sqrt(len(members))))
        return decades


def positions(parameters: list[Value], among: list[Value]) -> Array:
    """Where each of `parameters` stands among others."""
    position = dict(zip(among, range(len(among))))
    return np.array([position[p] for p in parameters])
