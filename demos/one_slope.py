"""A linear function has one slope everywhere.

Then what is the gradient of y = a + b·x? It is b, at every x there is: the edge from x to y
carries b and nothing else. There is no activation on the way that could let through less, or
stop it, and none that could bend the line.
"""

from __future__ import annotations

from statistics import linear_regression

import microgradx as mx
from demos.plumbing import Board, iris


def run(board: Board) -> str:
    _, flowers, _ = iris()
    lengths, widths = [flower[2] for flower in flowers], [flower[3] for flower in flowers]
    slope, intercept = linear_regression(lengths, widths)
    board.say(f"the line through 150 iris petals: width = {intercept:.4f} + {slope:.4f} · length")

    def line(length: float) -> tuple[mx.Value, mx.Value]:
        a, b, x = mx.Value(intercept, "a"), mx.Value(slope, "b"), mx.Value(length, "x")
        y = a + b * x
        y.label = "y"
        y.backward()
        return x, y

    slopes = {line(length)[0].grad for length in lengths}
    board.check(f"dy/dx is b = {slope:.4f}, to the last bit, at each of {len(lengths)} petals",
                slopes == {slope})

    x, y = line(lengths[0])
    box = {x: (-1e6, 1e6)}
    proved = mx.bounds.Bounds(y, box).gradient(x)
    board.check(f"and it is proved for every x from -1,000,000 to 1,000,000: in {proved}",
                proved.lo == proved.hi == slope)
    bent = y.sigmoid()
    squashed = mx.bounds.Bounds(bent, box).gradient(x)
    board.check(f"behind a sigmoid it is anything in {squashed}: 0.25 · b where it is steepest",
                squashed.lo < 1e-100 and abs(squashed.hi - 0.25 * slope) < 1e-12)

    title = f"y = a + b·x: the gradient of x is b = {slope:.3g}, whatever x is"
    board.draw("one_slope", mx.draw(y, title=title),
               "Two factors lie between y and x, ×1 and ×b. Neither of them asks where x is.")
    why = mx.why(x, y)
    board.say(why)
    board.check("its verdict is healthy", why.verdict == "healthy")
    return f"dy/dx = b = {slope:.4f} at 150 petals, and proved for |x| up to a million"
