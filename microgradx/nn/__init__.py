"""Neural nets of Values: modules, layers, norms, losses, and their files."""

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
