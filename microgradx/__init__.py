"""microgradx: an autodiff engine on a scalar graph that shows exactly why a gradient is what it is."""

from microgradx.engine import Value, dot, logsumexp, maximum, mean, minimum, sum

__all__ = ["Value", "dot", "logsumexp", "maximum", "mean", "minimum", "sum"]
