"""An autodiff engine on a scalar graph that shows exactly why a gradient is what it is."""

from microgradx.draw import draw, draw_dot
from microgradx.engine import Value, dot, logsumexp, maximum, mean, minimum, sum

__all__ = [
    "Value", "dot", "sum", "mean", "logsumexp", "maximum", "minimum", "draw", "draw_dot",
]  # fmt: skip
