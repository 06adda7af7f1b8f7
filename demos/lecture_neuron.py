"""Before the claims: backprop, one multiplication at a time.

What does it do in a neuron with two inputs, o = tanh(x1·w1 + x2·w2 + b)? It multiplies the local
derivatives on the way from o. The gradient of each weight is its input times 1 - o² = 0.5, so
that of w2 is 0 because x2 is 0: an input that is off teaches its weight nothing.
"""

import microgradx as mx
from demos.plumbing import Board
from microgradx.step.words import sweep


def run(board: Board) -> str:
    x1, x2 = mx.Value(2.0, "x1"), mx.Value(0.0, "x2")
    w1, w2 = mx.Value(-3.0, "w1"), mx.Value(1.0, "w2")
    b = mx.Value(6.8813735870195432, "b")
    x1w1, x2w2 = x1 * w1, x2 * w2
    x1w1.label, x2w2.label = "x1·w1", "x2·w2"
    both = x1w1 + x2w2
    n = both + b
    o = n.tanh()
    both.label, n.label, o.label = "x1·w1 + x2·w2", "n", "o"

    board.say("\n".join(sweep(o, columns=78)))
    o.backward()
    board.check("∂o/∂n = 1 - o² = 0.5", abs(n.grad - 0.5) < 1e-15)
    board.check(
        "x1, w1 and x2 have the gradients -1.5, 1 and 0.5",
        grads_close([x1, w1, x2], [-1.5, 1.0, 0.5]),
    )
    board.check("w2 has the gradient 0", w2.grad == 0.0)

    why = mx.why(w2, o)
    board.say(*why.sentences)
    board.check("and that is because x2 is 0", why.causes == ["zero input"])
    board.page(
        "lecture_neuron",
        o,
        "Step through it: every value, then every multiplication.",
        title="A neuron with two inputs",
    )
    return "w1 has the gradient x1 · (1 - o²) = 1, and w2 has 0, as x2 is 0"


def grads_close(nodes: list[mx.Value], expected: list[float]) -> bool:
    return all(abs(node.grad - x) < 1e-14 for node, x in zip(nodes, expected))
