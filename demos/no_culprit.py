"""It is the product, not any single gradient.

Which of ten sigmoids makes the gradient so small? None of them: each lets through almost a
quarter, as much as a sigmoid can. But ten quarters multiply to a millionth. `why` weighs every
factor, and calls one of them a culprit only if it alone holds half of what was lost.
"""

import math

import microgradx as mx
from demos.plumbing import Board

DEPTH, PINCH = 10, -30.0


def chain(pinch: float | None = None) -> tuple[mx.Value, mx.Value]:
    """x, and ten sigmoids after it; the fifth may first be pushed far down its flat side."""
    x = y = mx.Value(0.5, "x")
    for i in range(1, DEPTH + 1):
        if pinch is not None and i == 5:
            y = y + pinch
        y = y.sigmoid()
        y.label = f"s{i}"
    y.backward()
    return x, y


def run(board: Board) -> str:
    x, y = chain()
    why = mx.why(x, y)
    factors = [edge.partial for edge, _ in why.path]
    board.say("the ten factors: " + ", ".join(f"{factor:.4f}" for factor in reversed(factors)))
    board.check(
        f"none is small: the least is {min(factors):.4f}, the most there can be is 0.25",
        0.22 < min(factors) and max(factors) <= 0.25,
    )
    board.check(
        f"but their product is {x.grad:.9e}",
        math.isclose(x.grad, math.prod(factors), rel_tol=1e-14)
        and math.isclose(x.grad, 3.483115610e-7, rel_tol=1e-9),
    )
    board.say(*why.sentences)
    board.check(
        f"the verdict: {why.verdict}, a {why.causes[0]}, and no culprit",
        (why.verdict, why.causes[0], why.culprits) == ("small", "sigmoid chain", []),
    )
    budget = why.budget
    board.check(
        f"of its {math.log10(x.grad):.2f} decades, {budget['sigmoid ceiling']:.2f} are the "
        f"ceiling 0.25^{DEPTH}, and {budget['saturation']:.2f} being away from z = 0",
        math.isclose(budget["sigmoid ceiling"], DEPTH * math.log10(0.25))
        and math.isclose(sum(budget.values()), math.log10(x.grad)),
    )

    pinched, end = chain(PINCH)
    other = mx.why(pinched, end)
    board.check(
        f"push one of them down by {-PINCH:g}, and that one is the culprit",
        [edge.node.label for edge in other.culprits] == ["s5"],
    )
    board.draw(
        "no_culprit",
        mx.draw(y, explain=why),
        "Ten edges with the same share of the blame: mend one, and you get back a factor of 4.4.",
    )
    board.draw(
        "culprit",
        mx.draw(end, explain=other),
        "The same chain with s5 pushed far down its flat side: one edge is to blame.",
    )
    return (
        f"ten factors of {min(factors):.3f} to {max(factors):.3f} multiply to {x.grad:.2e}; "
        "no culprit"
    )
