"""A linear function has one slope everywhere.

Then what is the gradient of y = a + b·x? It is b, at every x there is: the path from x to y
carries b and 1, and nothing else. No activation on the way could let through less, or stop it, and
none could bend the line.
"""

import math
from statistics import linear_regression

import microgradx as mx
from demos.plumbing import Board, iris


def run(board: Board) -> str:
    _, flowers, _ = iris()
    lengths, widths = [flower[2] for flower in flowers], [flower[3] for flower in flowers]
    slope, intercept = linear_regression(lengths, widths)
    board.say(f"the line through 150 iris petals: width = {intercept:.4f} + {slope:.4f} · length")

    def line(length: float, squashed: bool = False) -> tuple[mx.Value, mx.Value]:
        a, b, x = mx.Value(intercept, "a"), mx.Value(slope, "b"), mx.Value(length, "x")
        y = a + b * x
        if squashed:
            y = y.sigmoid()
        y.label = "y"
        y.backward()
        return x, y

    slopes = {line(length)[0].grad for length in lengths}
    board.check(
        f"dy/dx is b = {slope:.4f}, to the last bit, at each of {len(lengths)} petals",
        slopes == {slope},
    )

    x, y = line(lengths[0])
    proved = mx.bounds.Bounds(y, {x: (-1e6, 1e6)}).gradient(x)
    board.check(
        f"and it is proved for every x from -1,000,000 to 1,000,000: in {proved}",
        proved.lo == proved.hi == slope,
    )
    steepest, far = (line(length, squashed=True)[0].grad for length in (-intercept / slope, 100.0))
    board.check(
        f"behind a sigmoid it is b/4 = {steepest:.4f} where that is steepest, and "
        f"{far:.0e} at x = 100",
        math.isclose(steepest, slope / 4) and far < 1e-15,
    )

    title = f"y = a + b·x: the gradient of x is b = {slope:.3g}, whatever x is"
    board.draw(
        "one_slope",
        mx.draw(y, title=title),
        "Two factors lie between y and x, ×1 and ×b. Neither of them asks where x is.",
    )
    why = mx.why(x, y)
    board.say(*why.sentences)
    board.check("its verdict is healthy", why.verdict == "healthy")
    return f"dy/dx = b = {slope:.4f} at 150 petals, and proved for |x| up to a million"
