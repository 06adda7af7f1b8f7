"""One gradient to be judged: its flow, the yardstick for its size, and whether `.grad` is it."""

from __future__ import annotations

from functools import cached_property
from math import inf, isfinite, log10
from typing import NamedTuple

from microgradx.engine import Value
from microgradx.explain.paths import NodeFlow, Paths
from microgradx.explain.reference import Reference, reference_for
from microgradx.explain.tangents import Tangents


class Limits(NamedTuple):
    """From where on a gradient is small, large or cancelled.

    reference: the decades to compare with; None: those of the output layer
    small, large: how many decades below and above it
    cancels:   the R / |g|
    """

    reference: float | None = None
    small: float = 3.0
    large: float = 2.0
    cancels: float = 1000.0


class Case:
    """One gradient to be judged: ∂output/∂node, with its flow, None where no path leads there."""

    def __init__(self, paths: Paths, limits: Limits, node: Value) -> None:
        self.paths, self.limits, self.node = paths, limits, node
        self.output = paths.nodes[0]
        self.flow = paths.flow(node) if node in paths.index else None

    @property
    def reached(self) -> NodeFlow:
        """The flow, where it is known that there is one."""
        assert self.flow is not None
        return self.flow

    @property
    def finite(self) -> bool:
        """Whether the gradient is finite, in both its forms, and so is the output."""
        flow = self.reached
        return all(map(isfinite, (flow.g, flow.wide.mantissa, self.output.data)))

    @cached_property
    def tangents(self) -> Tangents:
        """The sums from the node onwards; a KeyError where no path leads to the output."""
        return Tangents(self.paths, self.node)

    @cached_property
    def reference(self) -> Reference:
        """The yardstick for small and large, in decades of R."""
        if self.limits.reference is not None:
            return Reference(self.limits.reference)
        return reference_for(self.paths, self.paths.index[self.node])

    @cached_property
    def beyond(self) -> float:
        """By how many decades R lies above the reference; the output's own, by none."""
        decades = self.reached.norm.decades - self.reference.decades
        return decades if self.node is not self.output else 0.0

    @cached_property
    def rounding(self) -> float:
        """Decades of the size that rounding leaves: √n u R (Higham and Mary 2019)."""
        n = self.paths.roundings[self.paths.index[self.node]]
        return self.reached.norm.decades + log10(2.0**-53) + log10(n) / 2 if n else -inf

    @cached_property
    def fans(self) -> float:
        """½ log₁₀(fan-in / fan-out) of the layers of weights passed, over the paths.

        With the weight scale it is 0 for weights of size 1/√fan-in.
        """
        return self.tangents.mean(self.paths.fans)

    @cached_property
    def remark(self) -> Remark | None:
        """Why the node's .grad is not what the latest backward() should have left; None if it is.

        None too where no path leads to the output.
        """
        flow, grad, output = self.flow, self.node.grad, self.output
        if flow is None:
            return None
        if not any(x.grad for x in self.paths.nodes if x.rule or x is output):
            return Remark(
                "no backward()", "There was no backward(), or every grad was zeroed since"
            )
        seed = output.grad if output.rule else 1.0
        expected = flow.g * seed if abs(flow.g) >= TINY else float(seed * flow.wide)
        error = flow.error * abs(seed)
        if _same(grad, expected, error) or _same(grad, flow.g * seed, error):
            return None
        k = _multiple(grad, expected)
        if k:
            sentence = f".grad is {grad:.3g}, as it is after {k} backwards without zero_grad()"
            return Remark(f"{k} × the gradient", sentence)
        if not grad:
            return Remark("zeroed", ".grad is 0: it was zeroed after the last backward()")
        return Remark("not this gradient", f".grad is {grad:.3g}, which is not this gradient")


# --- the remark on .grad -------------------------------------------------------------------------

STALE = 1e-9  # relative difference from which .grad is not the gradient
WHOLE, MULTIPLES = 1e-6, 1000  # how near to a whole number a multiple is, and the largest
TINY = 1e-290  # below it, a seed may have lifted what underflows without


class Remark(NamedTuple):
    """Why a node's .grad is not its gradient: the cause, and in a sentence."""

    cause: str
    sentence: str


def _same(grad: float, expected: float, error: float) -> bool:
    """Whether a grad is what it should be, but for rounding."""
    if isfinite(grad) and isfinite(expected):
        return abs(grad - expected) <= STALE * abs(expected) + error
    return grad == expected or (grad != grad and expected != expected)


def _multiple(grad: float, expected: float) -> int:
    """How many times the gradient is in .grad; 0 if it is no whole number from 2 to 1000."""
    ratio = grad / expected if expected and isfinite(grad) and isfinite(expected) else 0.0
    k = round(ratio) if isfinite(ratio) else 0
    return k if 2 <= k <= MULTIPLES and abs(ratio - k) <= WHOLE else 0
