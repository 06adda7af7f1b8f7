"""An op is one block: drawn, explained, bounded, replayed, stepped, checked and listed at once."""

import inspect
import math

import numpy as np
import pytest

import microgradx as mx
from microgradx import Value, rules
from microgradx.__main__ import main
from microgradx._base import floats
from microgradx.engine import TRIED, apply, rule
from microgradx.explain import Bounds
from microgradx.step.words import formula
from tests.operands import arity, grouped


def softsign():
    @rule(kind="saturating", ceiling=1.0, bounds=(0.0,), partials=("1 / (1 + |x|)²",))
    def softsign(xp, x):
        """x / (1 + |x|)"""
        scale = 1.0 + xp.abs(x)
        return x / scale, xp.divide(1.0, scale * scale)

    return softsign


def atan2():
    @rule(kind="singular", partials=("x / (x² + y²)", "-y / (x² + y²)"))
    def atan2(xp, y, x):
        """the angle of the point (x, y)"""
        square = x * x + y * y
        return xp.arctan2(y, x), xp.divide(x, square), -xp.divide(y, square)

    return atan2


def largest():
    @rule(kind="gate", ceiling=1.0, lists=("xs",), bounds="increasing")
    def largest(xp, xs):
        """the largest of xs; equal ones share the slope"""
        peak = xs[0]
        for x in xs[1:]:
            peak = xp.maximum(peak, x)
        ones = [xp.where(x == peak, 1.0, 0.0) for x in xs]
        ties = 0.0
        for one in ones:
            ties = ties + one
        return peak, [xp.divide(one, ties) for one in ones]

    return largest


def scaled_sum():
    @rule(kind="singular", lists=("xs",), partials=("Σ x", "t"))
    def scaled_sum(xp, t, xs):
        """t · (x₀ + x₁ + …)"""
        total = 0.0
        for x in xs:
            total = total + x
        return t * total, total, [t] * len(xs)

    return scaled_sum


def clamp():
    return rules.clamp


OWN = [softsign, atan2, largest, scaled_sum, clamp]
NUMBERS = [0.7, -0.4, 1.9]  # of a clamp: x, low, high


@pytest.fixture(params=OWN, ids=lambda make: make.__name__)
def row(request, temporary_ops):
    return request.param()


def node(row, xs):
    return apply(row, *grouped(row, xs, 3))


def leaves(row):
    return [Value(x, f"v{i}") for i, x in enumerate(NUMBERS * 2)][: arity(row, 3)]


def test_it_is_a_function_and_a_method_by_its_operands_names(row):
    xs = leaves(row)
    operands = grouped(row, xs, 3)
    named = dict(zip(row.operands, operands))
    function = getattr(mx, row.name)
    assert tuple(inspect.signature(function).parameters) == row.operands
    assert function(**named).data == function(*operands).data == node(row, xs).data
    first, *rest = operands
    if row.operands[0] not in row.lists:
        assert getattr(first, row.name)(*rest).data == node(row, xs).data
    assert row.name in dir(mx) and row.name in dir(mx.ops)


def test_it_is_drawn(row):
    y = node(row, leaves(row))
    y.backward()
    source = mx.draw_dot(y).source
    assert row.label in source
    assert all(f"<b>{x.label}" in source for x in y.inputs)
    for x, partial in zip(y.inputs, y.partials):
        assert f"×{partial:.3g}" in source or (not partial and "STOP" in source), x


def test_it_is_explained(row):
    xs = leaves(row)
    y = node(row, xs)
    y.backward()
    for x in xs:
        explanation = mx.why(x, y)
        assert explanation.flow.g == x.grad
        assert explanation.verdict == ("healthy" if x.grad else "stopped"), str(explanation)


def test_it_is_bounded(row):
    xs = leaves(row)
    box = {x: (x.data - 0.25, x.data + 0.25) for x in xs}
    y = node(row, xs)
    bounds = Bounds(y, box)
    assert 0 < bounds[y].hi - bounds[y].lo < 10
    for shift in (-0.25, -0.1, 0.0, 0.2, 0.25):
        there = [Value(x.data + shift) for x in xs]
        z = node(row, there)
        z.backward()
        assert z.data in bounds[y]
        assert all(other.grad in bounds.gradient(x) for x, other in zip(xs, there))


def test_it_is_replayed(row):
    def fn(x, ws):
        return node(row, [w * x for w in ws])

    ws = [Value(w) for w in (0.5, -2.0, 3.0, 1.5)][: arity(row, 3)]
    replay = mx.record(lambda x: fn(x, ws), 0.3, parameters=ws)
    batch = np.array([-1.5, -0.1, 0.2, 2.5])
    eager = [fn(x, ws) for x in batch.tolist()]
    assert replay.forward(batch).tolist() == pytest.approx([y.data for y in eager], rel=1e-14)
    for y in eager:
        y.backward(1 / len(eager))
    replay(batch)
    grads = [w.grad for w in replay.parameters]
    assert replay.gradient.tolist() == pytest.approx(grads, rel=1e-13, abs=1e-15)


def test_it_is_stepped_through(row):
    y = node(row, leaves(row))
    first, *_ = y.backward_steps()
    assert first.node is y and first.contributions == y.partials
    for edge in y.edges:
        assert formula(edge).startswith(f"{row.name}: {row.__doc__}  ⇒  ∂/∂")
    assert "<!DOCTYPE html>" in mx.page(y)


def test_it_is_checked(row):
    assert (
        mx.check_gradients(
            lambda *xs: node(row, xs), *NUMBERS[: arity(row, 3)], *[0.2] * max(arity(row, 3) - 3, 0)
        )
        < 1e-6
    )


def test_it_is_listed(row, capsys):
    assert main(["ops"]) == 0
    line = f"{row.name}({', '.join(row.operands)})"
    assert any(text.startswith(line) for text in capsys.readouterr().out.splitlines())


def test_the_readmes_own_op_is_right_at_any_size(temporary_ops):
    softsign()
    for x, y in ((1e200, 1.0), (-1e200, -1.0), (1e-200, 1e-200), (3.0, 0.75)):
        assert mx.softsign(x).data == y
    y = Value(1e200).softsign()
    assert y.partials == (0.0,) and not math.isnan(y.data)
    x = Value(0.0)
    assert Bounds(x.softsign(), {x: (-1e9, 1e9)}).gradient(x).hi <= 1.0 + 1e-12


def test_a_row_that_gives_arrays_something_else_is_blamed_by_its_name(temporary_ops):
    @rule(kind="gate")
    def off_above(xp, x):
        """x where not x > 0: `~True` is -2, which counts as true"""
        off = ~(x > 0)
        return xp.where(off, x, 0.0), xp.where(off, 1.0, 0.0)

    @rule(kind="linear")
    def by_kind(xp, x):
        """x, with a slope that only a float has"""
        return x, 1.0 if type(x) is float else 2.0

    for name in ("off_above", "by_kind"):
        w = Value(2.0)
        with pytest.raises(RuntimeError, match=f"op '{name}' gives arrays something else") as error:
            mx.record(lambda x, w=w, name=name: getattr(w * x, name)(), 1.0)
        assert "please report" not in str(error.value)


# --- a mistake is an error where it is written ---------------------------------------------------


def one(xp, x):
    """x"""
    return x, 1.0


def bare(xp, x, y):
    """x + y"""
    return x + y, 1.0


def sole(xp, x):
    """x"""
    return x


def lacking(xp, x):
    """Γ(x)"""
    return xp.gamma(x), 1.0


def raising(xp, x):
    """x²"""
    return x**2, 2.0 * x


def short(xp, xs):
    """Σ x"""
    return xs[0], [1.0]


def silent(xp, x):
    """x"""
    return x, None


def sqrt_(xp, x):
    """√x"""
    return one(xp, x)


def data(xp, x):
    """x"""
    return one(xp, x)


sqrt_.__name__ = "sqrt"


def whole(xp, x):
    """1"""
    return 1, 0.0


def steep(xp, x):
    """x"""
    return x, 1


def single(xp, xs):
    """x₀"""
    return xs[0], 1.0


def by_name(xp, x, *, k=1.0):
    """x"""
    return x, 1.0


def mixed(xp, a, xs):
    """a · x₀"""
    return a * xs[0], xs[0], [a] * len(xs)


@pytest.mark.parametrize(
    "function, columns, message",
    [
        (one, {"bounds": "up"}, "op 'one' has bounds='up'; use 'increasing' or 'decreasing'"),
        (bare, {"bounds": (0.0,)}, r"op 'bare' has bounds=\(0.0,\)"),
        (one, {"kind": "smooth"}, "op 'one' is of the kind 'smooth'; use one of linear"),
        (one, {"lists": ("ys",)}, "op 'one' has no operand 'ys', which is in lists"),
        (one, {"lists": "x"}, "op 'one' has lists='x'; write a tuple of names"),
        (one, {"kinks": {"z": (0.0,)}}, "op 'one' has no operand 'z', which is in kinks"),
        (one, {"partials": ("1", "1")}, "op 'one' writes 2 partials for 1 operand"),
        (bare, {}, "op 'bare' returned 1 partial for its operands x, y; return the value, then"),
        (sole, {}, "op 'sole' returned 0 partials for its operands x; return"),
        (lacking, {}, "op 'lacking' needs xp.gamma, which microgradx/_base/floats.py lacks; add"),
        (raising, {}, r"op 'raising' raises OverflowError .* at 1e\+200; a row gives IEEE results"),
        (short, {"lists": ("xs",)}, "op 'short' returned 1 of 2 partials for xs"),
        (silent, {}, "op 'silent' has the partial None for x; None goes with the column silent="),
        (whole, {}, "op 'whole' returned the value 1, which is no float"),
        (steep, {}, "op 'steep' has the partial 1 for x, which is no float"),
        (single, {"lists": ("xs",)}, "op 'single' has the partial 1.0 for xs; a list has a list"),
        (by_name, {}, "op 'by_name' takes its operands by their places alone"),
        (lambda xp, x: (x, 1.0), {}, "has no name that a method can have; write it with def"),
        (mixed, {"lists": ("xs",), "kind": "product"}, "op 'mixed' is a product; the first two"),
        (one, {"kind": "product"}, "op 'one' is a product; the first two operands"),
        (sqrt_, {}, "there is an op 'sqrt' already; give the new one another name"),
        (data, {}, "an op can't be called 'data': a Value has that already"),
    ],
)
def test_a_mistake_names_the_op_and_its_cause(function, columns, message, temporary_ops):
    before = dict(rules.TABLE)
    with pytest.raises(ValueError, match=message):
        rule(**{"kind": "linear", **columns})(function)
    assert before == rules.TABLE


@pytest.mark.parametrize("function, faults", [(lacking, 2), (raising, 1), (sole, 1), (steep, 1)])
def test_the_faults_of_a_function_at_a_number(function, faults):
    assert len([*rules.Rule(function, kind="linear").faults_at(floats, 1e200)]) == faults


def test_a_row_shows_itself_by_its_operands():
    assert repr(rules.leaky_relu) == "<rule leaky_relu(x, slope)>"


def test_an_unknown_column_is_named_with_the_known_ones():
    with pytest.raises(TypeError, match="op 'one' has a column 'bound'; there are kind, label"):
        rule(kind="linear", bound="increasing")(one)


def test_a_list_before_a_silent_operand_keeps_its_edges(temporary_ops):
    @rule(kind="linear", lists=("xs",), silent=("scale",))
    def scaled(xp, xs, scale):
        y = 0.0
        for x in xs:
            y = y + x * scale
        return y, [scale] * len(xs), None

    x, k = Value(2.0), Value(3.0)
    y = apply(scaled, [x, 1.0, x], k)
    y.backward()
    assert (y.data, y.inputs, y.partials, x.grad, k.grad) == (15.0, (x, x), (3.0, 3.0), 6.0, 0.0)
    replay = mx.record(lambda u: apply(scaled, [x * u, 1.0], k), 1.0)
    assert replay([2.0]) == 15.0 and replay.gradient.tolist() == [6.0, 0.0]


def test_a_silent_operand_after_two_that_are_not_has_no_edge(temporary_ops):
    @rule(kind="product", silent=("scale",))
    def scaled_product(xp, x, y, scale):
        return x * y * scale, y * scale, x * scale, None

    x, y, k = Value(2.0), Value(5.0), Value(3.0)
    z = apply(scaled_product, x, y, k)
    z.backward()
    assert (z.inputs, z.partials, z.operands) == ((x, y), (15.0, 6.0), (x, y, k))
    assert (z.data, x.grad, y.grad, k.grad) == (30.0, 15.0, 6.0, 0.0)


@pytest.mark.parametrize("row", rules.TABLE.values(), ids=lambda row: row.name)
def test_no_row_of_the_table_has_a_fault(row):
    assert not [*row.faults(), *[fault for x in TRIED for fault in row.faults_at(floats, x)]]
