"""ReLU is not linear.

Is it, being made of two straight lines? A linear function must be additive: f(a + b) is
f(a) + f(b), whatever a and b are. ReLU is that on either side of 0, but not across it.
"""

import random

import microgradx as mx
from demos.plumbing import Board


def gap(a: float, b: float) -> mx.Value:
    """f(a + b) - (f(a) + f(b)), which is 0 for a linear f."""
    x, y = mx.Value(a, "a"), mx.Value(b, "b")
    both = x + y
    apart, together = x.relu() + y.relu(), both.relu()
    both.label, apart.label, together.label = "a + b", "f(a) + f(b)", "f(a + b)"
    found: mx.Value = together - apart
    found.label = "gap"
    return found


def run(board: Board) -> str:
    across = gap(-1.0, 1.0)
    f = {x: mx.Value(x).relu().data for x in (-1.0, 0.0, 1.0)}
    board.check(
        f"f(-1) + f(1) = {f[-1.0] + f[1.0]:g}, but f(-1 + 1) = f(0) = {f[0.0]:g}: the gap "
        f"is {across.data:g}",
        across.data == f[0.0] - (f[-1.0] + f[1.0]) == -1.0,
    )

    rng = random.Random(0)
    pairs = [(rng.uniform(0, 10), rng.uniform(0, 10)) for _ in range(1000)]
    board.check(
        "on the right half line, 1000 pairs leave no gap",
        all(gap(a, b).data == 0.0 for a, b in pairs),
    )
    board.check("nor do 1000 pairs on the left one", all(gap(-a, -b).data == 0.0 for a, b in pairs))
    gaps = [gap(-a, b).data for a, b in pairs]
    board.check(
        "across 0, the gap is as large as the smaller of |a| and |b|, every time",
        all(abs(g + min(a, b)) < 1e-14 for g, (a, b) in zip(gaps, pairs)),
    )

    across.backward()
    picture = mx.draw(across, title="additivity fails: f(-1 + 1) - (f(-1) + f(1)) is -1, not 0")
    board.draw(
        "relu_is_not_linear",
        picture,
        "Three ReLUs, the same function, read a, b and a + b. Only that of b is on.",
    )
    return "f(-1) + f(1) = 1, f(-1 + 1) = 0; 1000 pairs on one side: a gap of 0"
