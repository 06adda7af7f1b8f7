"""A factor in words: where zeros come from, and numbers that are not finite."""

import math

import pytest

from microgradx import Value, dot, logsumexp, maximum, minimum, why
from microgradx import sum as total
from microgradx._base.text import name_of
from microgradx.engine import apply, order
from microgradx.explain.causes import cause_of_zero, origins, provenance
from microgradx.explain.extended import Extended, show
from microgradx.explain.paths import Paths
from microgradx.rules import Rule


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
        lambda: 1.0 ** x(5), lambda: x(0) ** 2, lambda: 0.0 ** x(2), lambda: 0.0 / x(2),
        lambda: Value(0.5).elu(x(2)), lambda: x(math.inf).sigmoid(),
    ],
)  # fmt: skip
def test_a_slope_that_is_0_is_no_underflow(make):
    assert {cause for _, cause, _ in causes(make())} == {"flat op"}


def test_a_negative_base_underflows_too():
    assert {cause for _, cause, _ in causes(x(-1e-200) ** 3)} == {"local underflow"}


def test_a_row_of_ones_own_may_say_where_its_slope_is_truly_0():
    def own(xp, x):
        return 0.0, -3.0 * x * xp.exp(-x * x)

    row = Rule(own, kind="saturating", flat=lambda x: x == 0)
    for data, cause in ((0.0, "flat op"), (40.0, "local underflow"), (math.inf, "flat op")):
        edge = apply(row, x(data)).edges[0]
        edge = edge._replace(partial=0.0)  # at inf it is nan
        assert cause_of_zero(edge, Paths(edge.node)) == cause


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
    assert show(Extended(0.0, 0)) == show(Extended(-0.0, 5)) == "0"
    assert show(Extended(1.5, 3)) == "12" and show(Extended(-1 / 3, 0)) == "-0.333"
    assert show(Extended(1.0, -2000)) == "8.71e-603" and show(Extended(-1.0, 2000)) == "-1.15e602"
    assert show(Extended(math.inf, 0)) == "inf" and show(Extended(math.nan, 0)) == "nan"


def test_names():
    assert name_of(x(2.0, "layers.0[0]")) == "layers.0[0]"
    assert name_of(Value(2.0)) == "the leaf 2" and name_of(Value(2.0) * 3.0) == "mul(6)"


def test_names_keep_their_case_in_sentences():
    z = x(-1.0, "layers.0[0].z")
    h = z.relu()
    h.label = "layers.0[0]"
    h.backward()
    assert "\nlayers.0[0] lets nothing through: layers.0[0].z = -1 < 0.\n" in str(why(z, h))


def test_the_number_of_what_has_no_name_is_told_once():
    w = x(2.0, "w")
    for labelled, words in ((True, "z = -6 < 0"), (False, "mul(-6) < 0")):
        z = w * -3.0
        z.label = "z" if labelled else ""
        assert f"relu(0) lets nothing through: {words}.\n" in str(why(w, z.relu()))
