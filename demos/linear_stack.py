"""An activation is what makes w·x + b non-linear.

What would a deep net be without one? Three layers of w·x + b are drawn below. Every edge is a
weight, so the slope dy/dx is a sum of products of weights, the same wherever x is: the three
layers are one line. With ReLUs between them, the slope depends on which of these are on.
"""

import numpy as np

import microgradx as mx
from demos.plumbing import Board

XS = [x / 10 for x in range(-30, 31)]
WEIGHTS = {
    "layers.0.weight": [[2.0], [-1.0]],
    "layers.0.bias": [1.0, 0.5],
    "layers.1.weight": [[1.0, 0.5], [-1.0, 2.0]],
    "layers.1.bias": [-2.0, 0.0],
    "layers.2.weight": [[1.5, 1.0]],
    "layers.2.bias": [0.5],
}


def swept(model: mx.nn.MLP, at: float) -> tuple[mx.Value, mx.Value]:
    """x and y, after the sweep that leaves dy/dx in x.grad."""
    x = mx.Value(at, "x")
    y: mx.Value = model([x])
    y.label = "y"
    y.backward()
    return x, y


def run(board: Board) -> str:
    stack, bent = (mx.nn.MLP(1, [2, 2, 1], activation=each) for each in (None, "relu"))
    stack.load_state_dict(WEIGHTS)
    bent.load_state_dict(WEIGHTS)

    first, second, third = (np.array(WEIGHTS[f"layers.{i}.weight"]) for i in range(3))
    product = (third @ second @ first).item()
    slopes = {swept(stack, at)[0].grad for at in XS}
    board.say(f"the product of the three weight matrices: {product:g}")
    board.check(
        f"without an activation, dy/dx is {product:g} at all {len(XS)} points", slopes == {product}
    )

    x, y = swept(stack, 1.0)
    proved = mx.bounds.Bounds(y, {x: (-1e6, 1e6)}).gradient(x)
    board.check(
        f"and it is proved for every x from -1,000,000 to 1,000,000: in {proved}",
        proved.lo == proved.hi == product,
    )
    different = list(dict.fromkeys(swept(bent, at)[0].grad for at in XS))
    board.say(f"with ReLUs, from left to right: {', '.join(f'{s:g}' for s in different)}")
    board.check(f"the same weights with ReLUs have {len(different)} slopes", len(different) > 1)

    title = f"without an activation: dy/dx = {x.grad:g} here and everywhere"
    picture = mx.draw(y, title=title)
    board.draw(
        "linear_stack",
        picture,
        "No edge asks where x is. Add up the products along the four paths from y back to x.",
    )
    x, y = swept(bent, 1.0)
    title = f"the same weights with ReLUs: dy/dx = {x.grad:g} at x = {x.data:g}"
    picture = mx.draw(y, title=title)
    board.draw(
        "bent_stack",
        picture,
        "A ReLU that is off takes its paths out of the sum; at another x, another one is off.",
    )
    return f"slope {product:g} at all {len(XS)} points; with ReLUs {len(different)} slopes"
