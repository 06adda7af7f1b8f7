"""Gradients also explode.

What if the factors are above 1 instead of below? Then depth multiplies them to far too much. In
a net of ReLUs it is the weights that do it: four times the weights in each of seven layers, with
biases of 0, are 4^7 times the gradient. Even sigmoids explode, near z = 0 and with |w| above 4.
"""

import math

import microgradx as mx
from demos.plumbing import Board, iris

DEPTH, WEIGHT, TIMES, FLOWER = 6, 8.0, 4.0, 118


def sigmoids(w: float) -> tuple[mx.nn.MLP, mx.Value, mx.Value]:
    """Layers of one sigmoid(w·s - w/2) each, their input x = 0.5 and output: z is always 0."""
    model = mx.nn.MLP(1, [1] * DEPTH, "sigmoid", "sigmoid", init=lambda *_: w)
    for layer in model.layers:
        layer.neurons[0].bias.data = -w / 2
    x = mx.Value(0.5, "x")
    output: mx.Value = model([x])
    output.backward()
    return model, x, output


def logit(times: float) -> tuple[mx.nn.MLP, mx.Value, mx.Value]:
    """A flower's petal length and its first logit, in a net with `times` the usual weights."""
    names, flowers, _ = iris()
    model = mx.nn.MLP(4, [2] * DEPTH + [3], seed=20)
    for p in model.parameters():
        p.data *= times  # the biases are 0
    inputs = [mx.Value(x, name) for x, name in zip(flowers[FLOWER], names)]
    output: mx.Value = model(inputs)[0]
    output.backward()
    return model, inputs[2], output


def run(board: Board) -> str:
    _, before, first = logit(1.0)
    model, petal, output = logit(TIMES)
    board.say(
        f"∂logit/∂(petal length): {before.grad:.3g} with He's weights, "
        f"{petal.grad:.3g} with {TIMES:g} times as much"
    )
    more = TIMES ** (DEPTH + 1)
    board.check(
        f"seven layers of {TIMES:g} × the weights: {TIMES:g}^7 = {more:,.0f} × the "
        "gradient, exactly",
        petal.grad == more * before.grad,
    )
    why = mx.why(petal, output)
    board.say(*why.sentences)
    board.check(
        "the budget names the weights: most of its decades are theirs",
        (why.verdict, why.causes[0]) == ("large", "weight scale")
        and why.budget["weight scale"] > math.log10(abs(petal.grad)) / 2,
    )
    gained = why.budget["weight scale"] - mx.why(before, first).budget["weight scale"]
    board.check(
        f"{gained:.2f} more than with He's: 7 · log₁₀ 4", math.isclose(gained, math.log10(more))
    )

    chain, x, last = sigmoids(WEIGHT)
    board.check(
        f"{DEPTH} sigmoids with w = {WEIGHT:g} at z = 0 multiply by w/4 each: 2^{DEPTH} = "
        f"{x.grad:g}",
        x.grad == 2.0**DEPTH,
    )
    board.check("with w = 4 they hand on exactly what they get", sigmoids(4.0)[1].grad == 1.0)
    board.check("with w = 3 it fades", sigmoids(3.0)[1].grad == 0.75**DEPTH)
    board.draw(
        "exploding",
        mx.draw(output, explain=why),
        "Each arrow between layers is a weight. Past the ReLUs that are off, the paths "
        "multiply and add up to thousands.",
    )
    title = f"sigmoids at z = 0 with w = {WEIGHT:g}:\n×{WEIGHT:g} and ×0.25 are ×2 a layer"
    picture = mx.draw(last, title=title)
    board.draw(
        "exploding_sigmoids",
        picture,
        "Six layers of ×8 and ×0.25. The ceiling of the sigmoid is no protection.",
    )
    return (
        f"4 × the weights in 7 layers: {petal.grad / before.grad:,.0f} × the gradient; "
        f"of six sigmoids with w = 8: {x.grad:g} ×"
    )
