"""What flows through one node: its row of the table that `Flow` makes."""

from __future__ import annotations

from math import inf, isfinite, log
from typing import NamedTuple

from microgradx.engine import Edge, Value
from microgradx.explain.extended import Wide, quotient
from microgradx.explain.paths import Paths

LN10 = log(10.0)


class Repair(NamedTuple):
    """What the gradient would be if one local derivative were 1 and all others as they are."""

    edge: Edge
    wide: Wide

    @property
    def gradient(self) -> float:
        """As a float, which may underflow."""
        return float(self.wide)


class NodeFlow(NamedTuple):
    """What flows through one node, all of it about ∂output/∂node.

    g:        the gradient, summed in the order of the sweep
    wide:     the same, which neither underflows nor overflows
    mass:     A, the sum of the sizes of all paths; 0 if every path holds a zero factor
    kappa:    A / |g|, how much the paths cancel; 1 if all agree, inf if nothing is left
    entropy:  H in nats; e^H is how many paths share the work
    budget:   decades by kind of factor, and "fan-out" and "cancellation": together they are
              log₁₀|g|. Empty where g is 0 or not finite
    gates:    how many zero factors there are on the path with the fewest
    strongest: the node's edge on its strongest path, None for the output
    choke_point: the nearest node that every path goes through, None for the output
    error:    how far rounding at most has put g off, γA
    """

    g: float
    wide: Wide
    mass: Wide
    kappa: float
    entropy: float
    budget: dict[str, float]
    gates: int
    strongest: Edge | None
    choke_point: Value | None
    error: float

    @property
    def decades(self) -> float:
        """log₁₀|g|, also where g underflows as a float."""
        return self.wide.decades


def node_flow(paths: Paths, node: Value) -> NodeFlow:
    """The row of a node behind the output of `paths`."""
    i = paths.index[node]
    wide, mass, up, via = paths.wide(i), paths.mass(i), paths.up[i], paths.via[i]
    whole = wide.mantissa != 0 and isfinite(wide.mantissa) and isfinite(mass.mantissa)
    return NodeFlow(
        g=paths.g[i],
        wide=wide,
        mass=mass,
        kappa=max(1.0, float(quotient(mass, wide))) if whole else inf,
        entropy=paths.entropy[i],
        budget=_budget(paths, i) if whole else {},
        gates=paths.gates[i],
        strongest=None if via < 0 else paths.edge(via),
        choke_point=None if up < 0 else paths.nodes[up],
        error=paths.rounds[i] * 2.0**-53 * float(mass),
    )


def _budget(paths: Paths, i: int) -> dict[str, float]:
    """The decades of g by kind of factor, with fan-out and cancellation."""
    terms = {kind: x / LN10 for kind, x in paths.budget[i].items()}
    if paths.entropy[i]:
        terms["fan-out"] = paths.entropy[i] / LN10
    lost = paths.wide(i).decades - paths.mass(i).decades
    if lost < 0:
        terms["cancellation"] = lost
    return terms
