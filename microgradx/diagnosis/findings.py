"""The findings: what is wrong with a net over its data, one rule a verdict, ranked by price.

A finding costs decades of the gradient times the share of the parameters that pay them. A stop
counts as SIXTEEN of them, the digits that a float has, and so does what no gradient can mend; a
stop that can be revived, and a layer too many, as FOUR. Inputs, targets and tensors that are off
stand before the deaths and saturations which follow from them, and a loss that is worse than a
guess behind all: as a rule it follows from something else.

The thresholds, which were fixed before the planted nets of the tests were made:

    dead                  a ReLU, or another gate, has the slope 0 in every row
    saturated             a unit's slope in the median row is below 1 % of its activation's largest;
                          of one that is flat on one side alone, as gelu, in every row
    small, large weights  a tensor is 10 times off its initialiser's scale, and that costs a decade
                          beside the outputs or that scale, or turns units off, or saturates them
    zero weights          each weight of a tensor is 0
    sigmoid chain         three or more layers' ceilings of ¼ hold a tenth of what is missing where
                          R is 2 decades below that at the outputs
    vanishing, exploding  R is 3 decades below, or 2 above, and the findings above hold less than
                          half of that
    copies                units of a layer that aren't dead have equal weights in, and equal out
    norms without rows    a batch norm's statistics are those of none: means 0, variances 1
    inputs out of scale   a column's root mean square is above 30; or each column's is below 1/30
    inputs far from 0     a column's mean is above 3, and 10 times its spread, which isn't 0: so it
                          isn't called out of scale, too
    targets out of reach  a target lies outside what the output's activation can give
    targets out of scale  of a mean squared error, as inputs: above 30, or far from 0
    bounded logits        cross-entropy of outputs that are probabilities, or squashed
    constant outputs      an output's spread is below 1e-6 of its size, and no finding says why
    worse than a guess    the loss is 3 times that of a constant guess, and twice that of one that
                          finds all classes equally likely; of squares 10 times
    linear net            two layers without an activation between them, unless they have fewer
                          weights than the one that they amount to; or no activation at all, where
                          the best linear fit leaves 90 % of the targets' variance
    large step            a step by the optimiser's raises the loss, turns a unit off in every row,
                          or saturates one
    small step            it moves half of the tensors by at most 1e-4 of their size, and the loss
                          falls along it to 100 times as far
    unused parameters     no path leads from them to the loss
    not finite            a loss or a gradient is nan or infinite in some row
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from microgradx.diagnosis.facts import Facts, Finding
from microgradx.diagnosis.of_data import (
    bounded_logits,
    constant_outputs,
    inputs,
    linear_net,
    targets_out_of_reach,
    targets_out_of_scale,
    worse_than_a_guess,
)
from microgradx.diagnosis.of_layers import (
    norms_without_rows,
    scaled_weights,
    sigmoid_chain,
    unused_parameters,
    vanishing,
    zero_weights,
)
from microgradx.diagnosis.of_steps import large_step, small_step
from microgradx.diagnosis.of_units import copies, dead, not_finite, saturated

__all__ = ["Facts", "Finding", "findings_of"]

# In this order, as each may look at what those before it have found.
RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    not_finite, dead, saturated, zero_weights, scaled_weights, copies, sigmoid_chain, vanishing,
    inputs, targets_out_of_reach, targets_out_of_scale, bounded_logits, worse_than_a_guess,
    linear_net, norms_without_rows, constant_outputs, unused_parameters, large_step, small_step,
)  # fmt: skip


def findings_of(facts: Facts) -> list[Finding]:
    """All findings, the dearest first."""
    found: list[Finding] = []
    for each in RULES:
        found += each(facts)
        facts.dearest = max((f.cost for f in found if f.verdict != "not finite"), default=0.0)
    return sorted(found, key=lambda finding: -finding.cost)
