"""What does backprop do, one multiplication at a time? A neuron with two inputs, as in lectures.

o = tanh(x1·w1 + x2·w2 + b). The gradient of each weight is its input times 1 - o² = 0.5, so that
of w2 is 0 because x2 is 0: an input that is off teaches its weight nothing.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import microgradx as mx
from demos.plumbing import check, save_page
from microgradx.narration import sweep


def run(out: Path) -> None:
    x1, x2 = mx.Value(2.0, "x1"), mx.Value(0.0, "x2")
    w1, w2 = mx.Value(-3.0, "w1"), mx.Value(1.0, "w2")
    b = mx.Value(6.8813735870195432, "b")
    x1w1, x2w2 = x1 * w1, x2 * w2
    x1w1.label, x2w2.label = "x1·w1", "x2·w2"
    both = x1w1 + x2w2
    n = both + b
    o = n.tanh()
    both.label, n.label, o.label = "x1·w1 + x2·w2", "n", "o"

    for line in sweep(o, columns=78):
        print(f"  {line}")
    o.backward()
    check("∂o/∂n = 1 - o² = 0.5", abs(n.grad - 0.5) < 1e-15)
    check("the gradients are those of the lecture", grads_close([x1, w1, x2], [-1.5, 1.0, 0.5]))
    check("w2 has the gradient 0", w2.grad == 0.0)

    why = mx.why(w2, o)
    print(textwrap.indent(str(why), "  "))
    check("and that is because x2 is 0", why.causes == ["zero input"])
    save_page(o, out, "lecture_neuron", title="A neuron with two inputs")


def grads_close(nodes: list[mx.Value], expected: list[float]) -> bool:
    return all(abs(node.grad - x) < 1e-14 for node, x in zip(nodes, expected))
