"""The laws of random networks, held by the engine's own verdicts.

Where chance is in it, a share or a mean over seeded nets is within three standard errors of the
law; where it is not, the figures are exact but for rounding. How often a first layer is proved dead
over a box is counted in `test_bounds`.
"""

import math
import random
from collections import Counter
from decimal import Decimal
from itertools import pairwise

import pytest

from microgradx import Flow, Value, dot, nn, rules, why
from microgradx._base import floats

LOG_QUARTER = math.log10(0.25)


def close(found, law, error):
    """Whether a figure is within three standard errors of its law."""
    return abs(found - law) <= 3 * error


def mean_and_error(xs):
    """The mean of a sample, and its standard error."""
    n, mean = len(xs), math.fsum(xs) / len(xs)
    return mean, math.sqrt(math.fsum((x - mean) ** 2 for x in xs) / (n - 1) / n)


def share_close(count, n, law):
    """Whether a count of n trials is what a probability says."""
    return close(count / n, law, math.sqrt(law * (1 - law) / n))


def explained(node, output):
    """The explanation after a sweep."""
    output.backward()
    return why(node, output)


# --- ReLU nets as He et al. start them: zero biases, N(0, 2 / inputs) -----------------------------


def he_nets(n, nin, hidden):
    """n nets on one fixed input: the rows of nodes from the input to the last hidden layer, and y.

    The seed is the shape, so that shapes are independent.
    """
    dice = random.Random(f"{nin} {hidden}")
    for _ in range(n):
        model = nn.MLP(nin, [*hidden, 1], init="he", seed=dice)
        rows = [[Value(1.0 - 0.7 * i) for i in range(nin)]]
        for layer in model.layers[:-1]:
            h = layer(rows[-1])
            rows.append(h if isinstance(h, list) else [h])
        y = model.layers[-1](rows[-1])
        y.backward()
        yield rows, y


SHAPES = [(3, [2, 3, 2]), (2, [1, 4]), (1, [5, 2])]  # inputs, hidden widths
BORN_DEAD = [(2, [1] * 3), (1, [2] * 4), (2, [3] * 4)]  # Lu, Shin, Su and Karniadakis 2019


@pytest.mark.some(2)
@pytest.mark.slow
@pytest.mark.parametrize("nin, hidden", SHAPES + BORN_DEAD)
def test_how_often_the_gradient_stops_and_at_which_layer(nin, hidden):
    """P(g = 0) = 1 - Π(1 - 2^-n): some hidden layer is off as a whole.

    If that is layer l of H, all behind it are at their kink: H - l + 1 gates stand in series, and
    none alone is to blame unless l is the last. For equal widths it is 1 - (1 - 2^-N)^H.
    """
    n, gates = 400, Counter()
    for (xs, *_), y in he_nets(n, nin, hidden):
        flow = Flow(y)
        it = flow.why(xs[0])
        stopped = it.verdict == "stopped"
        gates[it.flow.gates] += 1
        assert stopped == (it.flow.gates > 0) == (it.flow.g == 0.0)
        assert all(flow[x].gates == it.flow.gates for x in xs)
        if stopped:
            assert it.causes == ["relu off"] and all(e.input.data < 0 for e in it.where)
            assert bool(it.culprits) == (it.flow.gates == 1)
    alive = math.prod(1 - 2.0**-width for width in hidden)
    if len(set(hidden)) == 1:
        assert alive == pytest.approx((1 - 2.0 ** -hidden[0]) ** len(hidden))
    assert share_close(n - gates[0], n, 1 - alive)
    up_to_here = 1.0
    for in_series, width in zip(range(len(hidden), 0, -1), hidden):
        assert share_close(gates[in_series], n, up_to_here * 2.0**-width)
        up_to_here *= 1 - 2.0**-width


def test_born_dead_is_dead_all_along_the_ray():
    dead = 0
    for seed in range(100):
        model = nn.MLP(2, [2, 2, 1], seed=seed)
        verdicts = set()
        for scale in (1e-6, 1.0, 1e6):
            xs = [Value(0.6 * scale), Value(-0.8 * scale)]
            verdicts.add(explained(xs[0], model(xs)).verdict == "stopped")
        assert len(verdicts) == 1
        dead += verdicts.pop()
    assert share_close(dead, 100, 1 - 0.75**2)


def norm_moment(k, nin, hidden):
    """E (|g|²/2)^k: normal weights, seen through gates that fair coins open (Hanin and Nica 2019).

    Layer by layer, it is a mean square of normal numbers, half of them gone.
    """

    def chi_square(n):
        return math.prod(n + 2 * i for i in range(k))

    moment = chi_square(nin) / nin**k
    for n in hidden:
        mean = sum(math.comb(n, on) * chi_square(on) for on in range(n + 1)) / 2**n
        moment *= mean * (2 / n) ** k
    return moment


@pytest.mark.some(1)
@pytest.mark.slow
@pytest.mark.parametrize("nin, hidden", [(6, [9]), (4, [8, 8]), (3, [6, 8, 5])])
def test_moments_of_the_gradient(nin, hidden):
    """E|g|² = 2 and E|g|⁴ / (E|g|²)² = (1 + 2/n₀) Π(1 + 5/n), by the input and by every layer.

    By a layer, of the nets where it is not all 0. The tails are so heavy that a sample takes its
    own error for too small, so the standard errors are the law's.
    """
    widths = [nin, *hidden]
    halves = [[] for _ in widths]  # |g|²/2 by each layer
    for rows, y in he_nets(300, nin, hidden):
        flow = Flow(y)
        for layer, row in zip(halves, rows):
            if any(x.data for x in row):
                layer.append(sum(flow[x].g ** 2 for x in row) / 2)
    for i, layer in enumerate(halves):
        m1, m2, m3, m4 = (norm_moment(k, widths[i], widths[i + 1 :]) for k in (1, 2, 3, 4))
        law = (1 + 2 / widths[i]) * math.prod(1 + 5 / n for n in widths[i + 1 :])
        assert m1 == pytest.approx(1.0, rel=1e-12) and m2 == pytest.approx(law, rel=1e-12)
        n, mean = len(layer), mean_and_error(layer)[0]
        ratio = mean_and_error([x * x for x in layer])[0] / mean**2
        assert close(mean, 1.0, math.sqrt((m2 - 1) / n))
        assert close(ratio, law, math.sqrt((m4 - 4 * m2 * m3 + 4 * m2**3 - m2**2) / n))


# --- chains of sigmoids, and of what has no ceiling -----------------------------------------------


def unit_chain(op, x, length):
    """Why the slope of op(op(…op(x))) is what it is."""
    y = x = Value(x, "x")
    for _ in range(length):
        y = getattr(y, op)()
    return explained(x, y)


@pytest.mark.parametrize(
    "length, slope",
    [(1, 0.2350037122), (2, 0.0534083752), (3, 0.0120325149), (10, 3.483115610e-7)],
)
def test_a_unit_chain_of_sigmoids_is_its_ceiling_and_saturation(length, slope):
    it = unit_chain("sigmoid", 0.5, length)
    assert it.flow.g == pytest.approx(slope, rel=1e-8) and it.flow.g < 0.25**length
    assert it.verdict == ("small" if slope < 1e-3 else "healthy")
    assert it.causes[:1] == (["sigmoid chain"] if slope < 1e-3 else [])
    assert it.budget.keys() == {"sigmoid ceiling", "saturation"}
    assert it.budget["sigmoid ceiling"] == pytest.approx(length * LOG_QUARTER, rel=1e-14)
    assert it.budget["saturation"] == pytest.approx(math.log10(slope / 0.25**length), abs=1e-8)


def test_a_layer_more_of_sigmoids_costs_the_slope_at_their_fixed_point():
    low, high = 0.0, 1.0
    for _ in range(60):  # s = σ(s), where ln s/(1-s) = s
        s = (low + high) / 2
        low, high = (s, high) if math.log(s / (1 - s)) < s else (low, s)
    rate = s * (1 - s)
    assert (round(s, 10), round(rate, 10)) == (0.6590460684, 0.2247043481)
    longer, shorter = (unit_chain("sigmoid", 0.5, length).flow for length in (901, 900))
    assert longer.g == 0.0  # and yet
    assert longer.decades - shorter.decades == pytest.approx(math.log10(rate), abs=1e-11)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("length", [1, 3, 10, 60])
def test_sigmoids_with_weights_stay_below_their_ceiling_and_reach_it_at_zero(length, centred):
    """|∂| ≤ 0.25^L · Π|w|, with equality where every z is 0."""
    dice = random.Random(length)
    for _ in range(20):
        y = x = Value(dice.gauss(0, 2), "x")
        factor = 1.0
        for i in range(length):
            w = Value(dice.gauss(0, 2), f"w{i}")
            y = dot([w], [y], -w.data * y.data if centred else dice.gauss(0, 1)).sigmoid()
            factor *= w.data
        it = explained(x, y)
        bound = 0.25**length * abs(factor)
        assert it.budget["sigmoid ceiling"] == pytest.approx(length * LOG_QUARTER, rel=1e-14)
        assert it.budget["weight scale"] == pytest.approx(math.log10(abs(factor)), abs=1e-12)
        assert math.copysign(1.0, it.flow.g) == math.copysign(1.0, factor)
        if centred:
            assert abs(it.flow.g) == pytest.approx(bound, rel=1e-14)
            assert "saturation" not in it.budget
        else:
            assert abs(it.flow.g) < bound and it.budget["saturation"] < 0.0


@pytest.mark.parametrize("centred", [True, False])
def test_the_paths_of_a_sigmoid_net_stay_below_its_ceiling_and_reach_it_at_zero(centred):
    """As for a chain, with Π|w| summed over all paths."""
    for seed in range(20):
        model = nn.MLP(3, [4, 5, 1], "sigmoid", output="sigmoid", init="uniform", seed=seed)
        row = xs = [Value(0.5), Value(-2.0), Value(1.0)]
        sizes = [[float(i == j) for j in range(3)] for i in range(3)]  # Σ Π|w| from each input
        for layer in model.layers:
            for unit in layer.neurons:
                z = sum(w.data * x.data for w, x in zip(unit.weight, row))
                unit.bias.data = -z if centred else 0.0
            sizes = [
                [sum(abs(w.data) * s for w, s in zip(u.weight, line)) for u in layer.neurons]
                for line in sizes
            ]
            row = layer(row)
            row = row if isinstance(row, list) else [row]
        flow = Flow(row[0])
        for x, [size] in zip(xs, sizes):
            mass, budget = float(flow[x].mass), flow[x].budget
            assert budget["sigmoid ceiling"] == pytest.approx(3 * LOG_QUARTER, rel=1e-13)
            if centred:
                assert mass == pytest.approx(0.25**3 * size, rel=1e-13)
            else:
                assert abs(flow[x].g) <= mass < 0.25**3 * size


@pytest.mark.parametrize(
    "length, slope", [(1, 0.4199743416), (10, 0.0409120420), (100, 0.0015920041)]
)
def test_a_unit_chain_of_tanhs_has_no_ceiling_to_blame(length, slope):
    it = unit_chain("tanh", 1.0, length)
    assert (it.verdict, it.flow.g) == ("healthy", pytest.approx(slope, rel=1e-8))
    assert it.budget == {"saturation": pytest.approx(math.log10(slope), abs=1e-8)}


def test_a_unit_chain_of_tanhs_decays_as_a_power():
    """h ≈ √(3/2L), so that each layer costs 1 - 3/2L: -3/2 decades for ten times the depth."""
    decades = [unit_chain("tanh", 1.0, length).flow.decades for length in (100, 1000, 10_000)]
    powers = [b - a for a, b in pairwise(decades)]
    assert powers == [pytest.approx(-1.5, abs=0.06), pytest.approx(-1.5, abs=0.01)]


@pytest.mark.parametrize("op, x", [("relu", 1.0), ("tanh", 0.0)])
@pytest.mark.parametrize("length", [1, 10, 1000])
def test_a_chain_without_loss_has_an_empty_budget(op, x, length):
    it = unit_chain(op, x, length)
    assert (it.verdict, it.flow.g, it.budget) == ("healthy", 1.0, {})


# --- zeros that are none ------------------------------------------------------------------------


@pytest.mark.parametrize("length, g, verdict", [(537, 5e-324, "small"), (538, 0.0, "underflowed")])
def test_538_sigmoids_underflow_and_never_stop(length, g, verdict):
    y = x = Value(0.0, "x")
    for _ in range(length):
        y = y.sigmoid() - 0.5
    it = explained(x, y)
    assert (it.verdict, it.causes, it.where) == (verdict, ["sigmoid chain"], [])
    assert it.flow.g == x.grad == g and it.flow.gates == 0
    assert it.flow.decades == pytest.approx(length * LOG_QUARTER, rel=1e-14)
    assert f"(10^{length * LOG_QUARTER:.2f})" in str(it)
    if length == 538:
        assert round(it.flow.decades, 1) == -323.9


def sigmoid_slope(z):
    """e^-|z| / (1 + e^-|z|)², in 28 digits."""
    e = (-abs(Decimal(z))).exp()
    return e / (1 + e) ** 2


FALSE_ZEROS = [  # op, z, what the slope is by the op's own value
    *[("sigmoid", z, lambda s: s * (1 - s)) for z in (37.5, 40.0, 300.0)],
    *[("tanh", z, lambda t: 1 - t**2) for z in (-19.1, 19.1, 20.0, 150.0)],
]


@pytest.mark.parametrize("op, z, naive", FALSE_ZEROS)
def test_a_slope_that_would_be_a_false_zero_is_small(op, z, naive):
    x = Value(z, "x")
    y = getattr(x, op)()
    assert naive(y.data) == 0.0
    slope = 4 * sigmoid_slope(2 * z) if op == "tanh" else sigmoid_slope(z)
    it = explained(x, y)
    assert (it.verdict, it.causes[0], it.where) == ("small", "saturation", [])
    assert it.flow.g == pytest.approx(float(slope), rel=1e-15)
    assert it.flow.decades == pytest.approx(float(slope.log10()), rel=1e-14)


@pytest.mark.parametrize(
    "op, z, slope",
    [("sigmoid", -40.0, 4.248354255291589e-18), ("sigmoid", 40.0, 4.248354255291589e-18),
     ("tanh", 20.0, 1.6993417021166355e-17)],
)  # fmt: skip
def test_slopes_far_out(op, z, slope):
    it = unit_chain(op, z, 1)
    assert it.flow.g == slope and it.verdict == "small"
    assert sum(it.budget.values()) == pytest.approx(math.log10(slope), rel=1e-15)


# --- mean field (Poole et al. 2016, Schoenholz et al. 2017) ---------------------------------------


def gaussian_mean(f, cells=400, far=10.0):
    """E f(z) for z normal, by the midpoint rule."""
    h = 2 * far / cells
    zs = [-far + (i + 0.5) * h for i in range(cells)]
    return math.fsum(h * math.exp(-z * z / 2) * f(z) for z in zs) / math.sqrt(2 * math.pi)


def q_and_chi(phi, weight_variance, bias_variance):
    """q* = σ_w² E φ(√q* z)² + σ_b², and χ = σ_w² E φ′(√q* z)²."""

    def mean_square(q, column):
        return gaussian_mean(lambda z: phi(floats, math.sqrt(q) * z)[column] ** 2)

    q, before = 1.0, 0.0
    while abs(q - before) > 1e-9:
        q, before = weight_variance * mean_square(q, 0) + bias_variance, q
    return q, weight_variance * mean_square(q, 1)


def test_where_tanh_is_critical_and_that_he_is():
    assert q_and_chi(rules.tanh, 1.755, 0.05)[1] < 1 < q_and_chi(rules.tanh, 1.765, 0.05)[1]
    assert q_and_chi(rules.relu, 2.0, 0.0) == pytest.approx((1.0, 1.0), abs=1e-12)


@pytest.mark.some(1)
@pytest.mark.parametrize("weight_variance", [0.8, 1.76, 3.0])
def test_decades_per_layer_of_wide_tanh_nets(weight_variance):
    """½ log₁₀ χ, from ratios of mean squares: below, at and above the critical variance.

    The law is one of infinite width n. Simulations put a finite net's bias at no more than 0.08 / n
    decades per layer; at n = 24 that is 0.003, less than the standard error, and is not allowed
    for.
    """
    n, layers, nets = 24, 6, 40
    q, chi = q_and_chi(rules.tanh, weight_variance, 0.05)
    dice = random.Random(f"tanh {weight_variance}")
    first, last = [], []
    for _ in range(nets):
        zs = [[Value(dice.gauss(0, math.sqrt(q))) for _ in range(n)]]
        for _ in range(layers):
            h, scale = [z.tanh() for z in zs[-1]], math.sqrt(weight_variance / n)
            rows = [[dice.gauss(0, scale) for _ in h] for _ in range(n)]
            zs.append([dot(row, h, dice.gauss(0, math.sqrt(0.05))) for row in rows])
        flow = Flow(dot([dice.gauss(0, 1) for _ in range(n)], [z.tanh() for z in zs[-1]]))
        for end, row in ((first, zs[0]), (last, zs[-1])):
            end.append(sum(flow[z].g ** 2 for z in row))
    a, b = mean_and_error(first)[0], mean_and_error(last)[0]
    _, error = mean_and_error([x / a - y / b for x, y in zip(first, last)])
    decades, error = (x / (2 * layers) for x in (math.log10(a / b), error / math.log(10)))
    assert close(decades, 0.5 * math.log10(chi), error)
    assert error < 0.01
    if weight_variance != 1.76:
        assert not close(decades, 0.0, error)
