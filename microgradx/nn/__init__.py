"""Neural nets of Values: modules, layers, norms, losses, and their files."""

import sys
from typing import TYPE_CHECKING

from microgradx._base import hints
from microgradx.nn.files import WeightsError
from microgradx.nn.layers import INITIALISERS, MLP, Layer, Neuron, activations
from microgradx.nn.losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge_loss,
    mse_loss,
)
from microgradx.nn.module import Module
from microgradx.nn.norms import BatchNorm, LayerNorm, Residual

__all__ = [
    "Module", "Neuron", "Layer", "MLP", "BatchNorm", "LayerNorm", "Residual",
    "activations", "INITIALISERS", "WeightsError",
    "mse_loss", "hinge_loss", "binary_cross_entropy_with_logits", "cross_entropy",
]  # fmt: skip

if not TYPE_CHECKING:

    def __getattr__(name):
        """An AttributeError, which for PyTorch's names says what to use."""
        offers = f"; it offers {', '.join(__all__)}"
        raise hints.missing("microgradx.nn", name, hints.NN, sys.modules[__name__], offers)


def __dir__() -> list[str]:
    return __all__
