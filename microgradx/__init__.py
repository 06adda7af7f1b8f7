"""An autodiff engine on a scalar graph that shows exactly why a gradient is what it is."""

from microgradx import nn, optim
from microgradx.check import check_gradients
from microgradx.draw import draw, draw_dot
from microgradx.engine import Value, maximum, minimum
from microgradx.flow import Flow, why
from microgradx.rows import dot, logsumexp, mean, sum

__all__ = [
    "Value", "dot", "sum", "mean", "logsumexp", "maximum", "minimum",
    "nn", "optim", "check_gradients", "draw", "draw_dot", "Flow", "why",
]  # fmt: skip
