"""A factor in words: where zeros come from, and numbers that are not finite."""

import math

import pytest

from microgradx import Value, dot, logsumexp, maximum, minimum, why
from microgradx import sum as total
from microgradx._base.text import name_of
from microgradx.engine import apply, order
from microgradx.explain.causes import carried, cause_of_zero, origins, provenance
from microgradx.explain.extended import Wide, show
from microgradx.explain.paths import Paths
from microgradx.rules import Rule
from tests.explain.test_paths import few_paths


def causes(output):
    """For each zero edge: the name of its input, its cause, and where that comes from."""
    paths = Paths(output)
    return [
        (edge.input.label, cause_of_zero(edge, paths), provenance(edge, paths))
        for node in paths.nodes
        for edge in node.edges
        if not edge.partial
    ]


def x(data=1.0, label="x"):
    return Value(data, label)


@pytest.mark.parametrize(
    "make, cause, because",
    [
        (lambda: x(-1).relu(), "relu off", "relu(0) lets nothing through: x = -1 < 0"),
        (lambda: x(0).relu(), "kink", "x = 0 is the kink of relu, where the slope 0 is a "
                                      "convention"),
        (lambda: x() * 0.0, "zero constant", "The number 0 is a factor of mul(0)"),
        (lambda: maximum(x(), 2.0), "flat op", "maximum(2) does not change with x = 1"),
        (lambda: abs(x(0)), "flat op", "abs(0) does not change with x = 0"),
        (lambda: x() ** 0, "flat op", "pow(1) does not change with x = 1"),
        (lambda: x(0).cos(), "flat op", "cos(1) does not change with x = 0"),
        (lambda: x(-800).sigmoid(), "local underflow",
         "The slope of sigmoid(0) at -800 is too small for a float"),
        (lambda: x(-800).exp(), "local underflow",
         "The slope of exp(0) at -800 is too small for a float"),
    ],
)  # fmt: skip
def test_why_a_factor_is_zero(make, cause, because):
    assert causes(make()) == [("x", cause, [because])]


@pytest.mark.parametrize("other, cause", [("w", "zero weight"), ("k", "zero input")])
def test_a_zero_beside_it(other, cause):
    for y in (x() * x(0.0, other), dot([x()], [x(0.0, other)], 1.0)):
        assert causes(y) == [("x", cause, [f"The {cause[5:]} {other} is 0"])]


def test_what_the_parameters_are_can_be_said():
    k, node = x(0.0, "k"), x()
    edge = (node * k).edges[0]
    assert cause_of_zero(edge, Paths(edge.node, [k])) == "zero weight"
    assert provenance(edge, Paths(edge.node, [k])) == ["The weight k is 0"]


def test_a_zero_is_followed_to_where_it_comes_from():
    off = x(-2.0, "z").relu()
    off.label = "h"
    product = off * 3.0
    product.label = "p"
    *_, (name, cause, steps) = sorted(causes(x() * product), key=lambda row: row[0] == "x")
    assert (name, cause) == ("x", "zero activation")
    assert steps == ["p is 0 because a factor of it is", "h is 0 because its relu is off: z = -2"]


def test_zeros_that_no_factor_makes():
    a = x(2.0, "a")
    level = a - a
    level.label = "d"
    assert ("x", "zero activation", ["d is 0, as add made it"]) in causes(x() * level)
    terms = dot([1.0, -1.0], [a, a])
    terms.label = "d"
    assert ("x", "zero activation", ["d is 0, as dot made it"]) in causes(x() * terms)
    kink = x(0.0, "z").relu()
    kink.label = "h"
    said = "h is 0 because its relu is at its kink: z = 0"
    assert ("x", "zero activation", [said]) in causes(x() * kink)


# --- what only underflows ------------------------------------------------------------------------

E = math.log10(math.e)  # decades of one neper
CARRIED = "With the logarithms of such slopes carried along it is "


@pytest.mark.parametrize(
    "make",
    [
        lambda: x(800).sigmoid(), lambda: x(-800).softplus(), lambda: x(400).tanh(),
        lambda: x(-40).gelu(), lambda: x(-800).elu(), lambda: x(1e-200) ** 3,
        lambda: x(1e-320).sin() ** 3, lambda: logsumexp([x(-800), Value(0.0, "y")]),
        lambda: 1e-200 / x(1e200), lambda: x(1e200) ** -2.5,
    ],
)  # fmt: skip
def test_a_slope_that_underflows_is_no_flat_op(make):
    assert {cause for _, cause, _ in causes(make())} == {"local underflow"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: x(0).cos(), lambda: x(3) ** 0, lambda: minimum(x(3), 2.0), lambda: abs(x(0)),
        lambda: x(-3).elu(0.0), lambda: x(-3).leaky_relu(0.0), lambda: maximum(x(), 1e300),
    ],
)  # fmt: skip
def test_a_slope_that_is_0_is_no_underflow(make):
    assert {cause for _, cause, _ in causes(make())} == {"flat op"}


def test_a_negative_base_underflows_too():
    assert {cause for _, cause, _ in causes(x(-1e-200) ** 3)} == {"local underflow"}


def said(node, output):
    """The number at the end of the sentence on carried logarithms, None without it."""
    output.backward()
    it = why(node, output)
    found = [line.removeprefix(CARRIED) for line in it.because if line.startswith(CARRIED)]
    assert len(found) <= 1 and not (found and "local underflow" not in it.causes)
    return found[0] if found else None


def decades(node, output):
    return carried(Paths(output), node).decades


def test_one_slope_carried_along():
    a = x(800.0)
    y = a.sigmoid() * 2.0
    assert decades(a, y) == pytest.approx(math.log10(2) - 800 * E, rel=1e-14)
    assert said(a, y) == "7.34e-348"
    assert said(a, y * -1.0) == "-7.34e-348"


def test_what_stands_before_the_slope_is_carried_too():
    a = x(1.0)
    assert decades(a, (a * 800.0).sigmoid()) == pytest.approx(math.log10(800) - 800 * E, rel=1e-14)


@pytest.mark.parametrize("n", [2, 5, 40])
def test_slopes_in_series(n):
    a = y = x(800.0)
    for i in range(n):
        y = (y * 800.0 if i else y).sigmoid()  # of exactly 800, since the sigmoid is 1
    expected = -800 * n * E + (n - 1) * math.log10(800)
    assert decades(a, y) == pytest.approx(expected, rel=1e-13)
    y.backward()
    assert f"{n} gates stand in series" in why(a, y).because[0]
    decade = math.floor(expected)
    assert said(a, y) == f"{10 ** (expected - decade):.2f}e{decade}"


def test_slopes_in_parallel():
    a = x(800.0)
    y = a.sigmoid() + (a + 1.0).sigmoid() * 3.0
    assert decades(a, y) == pytest.approx(math.log10(1 + 3 / math.e) - 800 * E, rel=1e-14)
    assert said(a, y) == show(carried(Paths(y), a))


def test_only_what_underflows_is_carried():
    a = x(800.0)
    y = a.sigmoid() + maximum(a, 900.0) * 5.0 + (-a).relu() * 3.0
    assert decades(a, y) == pytest.approx(-800 * E, rel=1e-14)
    assert said(a, y) == "3.67e-348"


def test_nothing_is_said_where_nothing_is_left():
    a = x(800.0)
    assert said(a, a.sigmoid() - a.sigmoid()) is None
    assert said(a, a.sigmoid() * 0.0) is None
    assert said(a, a.sigmoid() * (-a).relu()) is None
    assert said(a, (-a).relu()) is None


@pytest.mark.parametrize("seed", range(60))
def test_where_nothing_underflows_it_is_the_gradient(seed):
    output, _ = few_paths(seed) or (x().relu(), None)
    paths = Paths(output)
    for i, node in enumerate(paths.nodes):
        found, mass = float(carried(paths, node)), float(paths.mass(i))
        assert found == pytest.approx(paths.g[i], rel=1e-12, abs=1e-14 * mass)


def test_a_slope_behind_a_thousand_halves():
    a = x(800.0)
    y = a.sigmoid()
    for _ in range(1500):
        y = y * 0.5
    assert decades(a, y) == pytest.approx(-800 * E + 1500 * math.log10(0.5), rel=1e-12)


def test_a_slope_too_small_even_for_decimals():
    a = x(1e20)
    assert said(a, a.sigmoid()) is None


def test_a_row_of_ones_own_is_carried():
    own = Rule("own", lambda xp, x: (0.0, -3.0 * xp.exp(-x * x)), ("x",), "own", kind="saturating")
    a = x(40.0)
    y = apply(own, a) * 2.0
    assert decades(a, y) == pytest.approx(math.log10(6) - 1600 * E, rel=1e-14)
    assert said(a, y) == "-8.07e-695"


# --- what is not finite ---------------------------------------------------------------------------


def begins(output, node):
    """(cause, the ops on whose edges it begins, sentence), asked about `node`."""
    paths = Paths(output)
    leads = {node}
    leads.update(v for v in reversed(paths.nodes) if not leads.isdisjoint(v.inputs))
    found = origins(order(output), paths.g, leads)
    return [(each.cause, [e.node.op for e in each.edges], each.sentence) for each in found]


def test_origins_and_not_their_victims():
    a = x(0.0, "a")
    assert begins(a.log() * 2.0 + 1.0, a) == [
        ("value not finite", ["log"], "log(-inf) is -inf: log(0)")
    ]
    assert begins(a.sqrt() * 2.0, a) == [
        ("derivative not finite", ["sqrt"], "∂sqrt(0)/∂a is inf at 0")
    ]
    bad = x(math.nan, "bad")
    assert begins(a * bad * 2.0, a) == [("value not finite", [], "bad is nan: a leaf")]
    assert begins(a * math.inf, a)[0][2] == "mul(nan) is nan: mul(0, inf)"


def test_every_origin_is_found():
    a, b = x(0.0, "a"), x(800.0, "b")
    both = begins(a.log() + (b + a).exp(), a)
    assert sorted(ops[0] for _, ops, _ in both) == ["exp", "log"]


def test_a_derivative_that_no_path_uses_is_no_origin():
    a, b = x(1.0, "a"), x(0.0, "b")
    assert begins(a * 2.0 + b.sqrt(), a) == []
    (a * 2.0 + b.sqrt()).backward()
    assert a.grad == 2.0


def test_overflow_of_products_and_of_sums():
    a = x(3e-308, "a")
    y = a * 1e200 * 1e200
    assert [(cause, ops) for cause, ops, _ in begins(y, a)] == [("overflow", ["mul"])]
    assert "1e+200 meets the adjoint 1e+200: too large for a float" in begins(y, a)[0][2]
    y = total([a * 1e308, a * 1e308])
    assert begins(y, a) == [
        ("overflow", ["mul", "mul"], "The contributions to a are finite, and their sum is inf")
    ]


def test_numbers_of_any_size():
    assert show(Wide(0.0, 0)) == show(Wide(-0.0, 5)) == "0"
    assert show(Wide(1.5, 3)) == "12" and show(Wide(-1 / 3, 0)) == "-0.333"
    assert show(Wide(1.0, -2000)) == "8.71e-603" and show(Wide(-1.0, 2000)) == "-1.15e602"
    assert show(Wide(math.inf, 0)) == "inf" and show(Wide(math.nan, 0)) == "nan"


def test_names():
    assert name_of(x(2.0, "layers.0[0]")) == "layers.0[0]"
    assert name_of(Value(2.0)) == "the leaf 2" and name_of(Value(2.0) * 3.0) == "mul(6)"


def test_names_keep_their_case_in_sentences():
    z = x(-1.0, "layers.0[0].z")
    h = z.relu()
    h.label = "layers.0[0]"
    h.backward()
    assert "\nlayers.0[0] lets nothing through: layers.0[0].z = -1 < 0.\n" in str(why(z, h))
