"""Real numbers in many digits, each with the size of what rounding may do to it.

A number's size A is the sum of the sizes of all that is rounded on the way to it, each times its
weight in the result: the n results of a sum are n of them. Floats that compute the same by the same
formula, or by a better one, are then off by a few ε A at most, whatever cancels. Below the smallest
normal float a rounding loses as much as there: `count` is the sum of the weights alone.
"""

import math

import mpmath as mp
import numpy as np

from microgradx.engine import Value, order, taken
from tests.operands import grouped
from tests.test_accuracy import REFERENCE, flat

ALLOWED = 4  # times that, as a row's partial may be off by 4 ulp


class Sized:
    """A number in 50 digits and its size; one that is given is exact, and of the size 0."""

    def __init__(self, x, size=0, count=0):
        self.x, self.size, self.count = mp.mpf(x), mp.mpf(size), mp.mpf(count)

    def __add__(self, other):
        other = sized(other)
        return rounded(self.x + other.x, (1, self), (1, other))

    def __sub__(self, other):
        return self + -sized(other)

    def __mul__(self, other):
        other = sized(other)
        return rounded(self.x * other.x, (other.x, self), (self.x, other))

    def __truediv__(self, other):
        other = sized(other)
        q = self.x / other.x
        return rounded(q, (1 / other.x, self), (q / other.x, other))

    def __neg__(self):
        return Sized(-self.x, self.size, self.count)

    def __rsub__(self, other):
        return sized(other) - self

    __radd__, __rmul__ = __add__, __mul__


def sized(x):
    return x if isinstance(x, Sized) else Sized(x)


def rounded(x, *read):
    """The result of an op, with what it has read, each after its partial."""
    size = abs(x) + mp.fsum(abs(d) * y.size for d, y in read)
    return Sized(x, size, 1 + mp.fsum(abs(d) * y.count for d, y in read))


def exp(y):
    return rounded(mp.exp(y.x), (mp.exp(y.x), y))


def log(y):
    return rounded(mp.log(y.x), (1 / y.x, y))


def log1p(y):
    return rounded(mp.log1p(y.x), (1 / (1 + y.x), y))


def sqrt(y):
    return rounded(mp.sqrt(y.x), (1 / (2 * mp.sqrt(y.x)) if y.x else 0, y))


def sigmoid(y):
    value, slope = REFERENCE["sigmoid"](y.x)
    return rounded(value, (slope, y))


def softplus(y):
    value, slope = REFERENCE["softplus"](y.x)
    return rounded(value, (slope, y))


def mean(ys):
    return sum(ys[1:], sized(ys[0])) / len(ys)


def share(found, exact, dtype=float):
    """How much of the error that is allowed there is, in a float or an array of them: 1 is all."""
    kind = np.finfo(dtype)
    pairs = zip(np.ravel(found).tolist(), np.ravel(exact).tolist())
    return max([0.0, *[_share(x, y, kind) for x, y in pairs]])


def _share(found, exact, kind):
    if not math.isfinite(found):
        return math.inf
    least = float(kind.smallest_subnormal) * max(exact.count, 1)
    allowed = ALLOWED * (float(kind.eps) * exact.size + least)
    return float(abs(found - exact.x) / allowed)


# --- any graph ----------------------------------------------------------------------------------

STEP = mp.mpf("1e-20")


def of_graph(output):
    """By node, its number and its adjoint as the ops of the graph have them in 50 digits."""
    nodes = order(output)
    numbers, partials = {}, {}
    for node in reversed(nodes):
        numbers[node], partials[node] = _number(node, numbers)
    adjoints = {output: Sized(1)}
    for node in nodes:
        g = adjoints.setdefault(node, Sized(0))
        for x, d, way in zip(node.inputs, partials[node], taken(node)):
            if way is not None:
                adjoints[x] = adjoints.get(x, Sized(0)) + d * g
    return numbers, adjoints


def _number(node, numbers):
    """A node's number and its partials; what they lose is as the numbers behind them change."""
    if node.rule is None:
        return Sized(node.data), []
    read = list(flat(node.operands))
    operands = [numbers[x] if isinstance(x, Value) else Sized(x) for x in read]
    value, partials = _run(node, [y.x for y in operands])
    slopes = [[] for _ in partials]
    for i, y in enumerate(operands):
        if y.size:
            moved = [z.x + STEP * y.size if i == j else z.x for j, z in enumerate(operands)]
            for found, new, d in zip(slopes, _run(node, moved)[1], partials):
                found.append(((new - d) / (STEP * y.size), y))
    pairs = zip(read, partials, slopes, _gradient_goes(node))
    return rounded(value, *zip(partials, operands)), [
        rounded(d, *found) for x, d, found, goes in pairs if isinstance(x, Value) and goes
    ]


def _run(node, operands):
    width = len(next((x for x in node.operands if isinstance(x, tuple)), ()))
    value, *partials = REFERENCE[node.op](*grouped(node.rule, operands, width))
    return mp.mpf(value), [mp.mpf(d or 0) for d in flat(partials)]


def _gradient_goes(node):
    """For each operand, lists' members one by one, whether it can have an edge."""
    for name, x in zip(node.rule.operands, node.operands):
        yield from [name not in node.rule.silent] * (len(x) if isinstance(x, tuple) else 1)
