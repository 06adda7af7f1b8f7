"""check_gradients finds what is wrong, and nothing else."""

import math
import random

import pytest

from microgradx import rules
from microgradx.engine import Value, node
from microgradx.explain.check import GradientMismatch, check_gradients
from microgradx.ops import dot, logsumexp, maximum, mean
from microgradx.ops import sum as sum_of


def wrong(factor: float):
    """A sine whose derivative is wrong by a factor."""
    return lambda x: node(rules.sin, math.sin(x.data), x, math.cos(x.data) * factor)


@pytest.mark.parametrize(
    "fn, values",
    [
        (lambda x, y: (x * y).tanh() / y, (0.3, -2.0)),
        (lambda x: x, (0.0,)),
        (lambda x: x * 0.0, (1.0,)),
        (lambda x: Value(3.0), (1.0,)),
        (lambda x, y: x * x, (1.0, 2.0)),
        (lambda x: x**20, (1e-3,)),
        (lambda *xs: logsumexp(xs) * mean(xs), (0.1, -0.2, 3.0)),
        (lambda *xs: dot(xs[:3], xs[3:], 1.0).sigmoid(), (0.1, -0.2, 3.0, 4.0, 5.0, 0.0)),
        (lambda *xs: sum_of([x.sigmoid() for x in xs]), [i / 10 for i in range(50)]),
        (maximum, (1.0, 1.0)),
    ],
)
def test_right_gradients_pass(fn, values):
    assert 0.0 <= check_gradients(fn, *values) < 1e-8


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-9, 1e9, 1e200, 1e300])
def test_small_and_large_functions_pass(scale):
    assert check_gradients(lambda x, y: scale * (x * y.sin() + x), 0.3, 2.0) < 1e-9


@pytest.mark.parametrize(
    "fn, values",
    [
        (lambda x: x.log(), (1e-8,)),
        (lambda x: x.sqrt(), (1e-12,)),
        (lambda x: x.sin(), (1e6,)),
        (lambda x: x.sin(), (1e7,)),
        (lambda x: (1000 * x).exp(), (0.0,)),
        (lambda x: x.exp(), (709.5,)),
        (lambda x: 1 / x, (1e-9,)),
        (lambda x: x.sigmoid(), (-40.0,)),
        (lambda x: x.sigmoid(), (40.0,)),
        (lambda x, y: x.log() * y, (1e-9, 1e9)),
        (lambda x: (x + 1e10) - 1e10, (1.0,)),
        (lambda x: 1e15 + x, (1.0,)),
    ],
)
def test_steep_flat_and_cancelling_functions_pass(fn, values):
    assert check_gradients(fn, *values) <= 1e-6


@pytest.mark.parametrize("factor", [1.001, 0.999, -1.0, 0.0, 1000.0])
@pytest.mark.parametrize("x", [1e-12, -1e-3, 1.0, 50.0, 1e5])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: y,
        lambda y: y + 1,
        lambda y: y * 1e9,
        lambda y: y * 1e-9 + 1e-3,
        lambda y: y * 1e-200,
    ],
)
def test_a_derivative_wrong_by_a_thousandth_is_caught(wrap, x, factor):
    with pytest.raises(GradientMismatch):
        check_gradients(lambda v: wrap(wrong(factor)(v)), x)


def test_one_wrong_gradient_among_many_is_caught_and_named():
    def fn(*xs):
        return sum_of([*xs[:7], wrong(1.001)(xs[7]), *xs[8:]]) * 3.0

    values = [Value(i / 7, f"w{i}") for i in range(20)]
    with pytest.raises(GradientMismatch, match=r"^value 7 \('w7'\): backward gives 1\.62\d+, diff"):
        check_gradients(fn, *values)


def test_gradients_whose_errors_cancel_in_every_single_value_would_show_in_a_direction():
    """Each value is moved alone and all are moved at once; both are asked."""
    asked = []
    check_gradients(lambda x, y: asked.append((x.data, y.data)) or x * y, 1.0, 2.0)
    assert any(x != 1.0 and y == 2.0 for x, y in asked)
    assert any(x == 1.0 and y != 2.0 for x, y in asked)
    assert any(x != 1.0 and y != 2.0 for x, y in asked)


def test_the_message_has_both_numbers_and_a_hint():
    with pytest.raises(ArithmeticError) as error:
        check_gradients(lambda x: x.relu(), Value(0.0, "x"))
    assert str(error.value) == (
        "value 0 ('x'): backward gives 0, differences 0.5. Either the derivative of an op is "
        "wrong, or fn holds a detach, or it has a kink (relu, abs, maximum, …) close by: then try "
        "another point"
    )


@pytest.mark.parametrize("distance", [1e-4, 5e-4, -1e-3, 1.9e-3])
def test_a_kink_close_by_is_no_mismatch(distance):
    assert check_gradients(lambda x: (x - distance).relu() + abs(x - distance), 0.0) < 1e-6


def test_a_detach_is_a_mismatch():
    with pytest.raises(GradientMismatch, match=r"value 0.*backward gives 2, differences 4"):
        check_gradients(lambda x: x * x.detach(), 2.0)


def test_what_is_not_finite_is_named():
    with pytest.raises(GradientMismatch, match="fn is -inf at this point"):
        check_gradients(lambda x: x.log(), 0.0)
    with pytest.raises(GradientMismatch, match="fn is nan at this point"):
        check_gradients(lambda x: x.log(), -1.0)
    with pytest.raises(GradientMismatch, match="^value 1: backward gives inf, which is not finite"):
        check_gradients(lambda x, y: x + y.sqrt(), 1.0, 0.0)
    with pytest.raises(GradientMismatch, match="^value 0: fn is not finite close to this point"):
        check_gradients(lambda x: x if x.data == 1.0 else x * math.nan, 1.0)


def test_nothing_that_fn_closes_over_is_disturbed():
    w, x = Value(2.0, "w"), Value(3.0, "x")
    trunk = w * w
    trunk.backward()
    x.grad = 7.0
    check_gradients(lambda v: (v * w + trunk) * x.tanh(), 0.5)
    check_gradients(lambda v: v * x, x)
    assert (w.grad, trunk.grad, x.grad, x.data) == (4.0, 1.0, 7.0, 3.0)
    with pytest.raises(GradientMismatch):
        check_gradients(lambda v: wrong(2.0)(v * w) + trunk, 0.5)
    assert (w.grad, trunk.grad) == (4.0, 1.0)
    trunk.backward()
    assert w.grad == 8.0


def test_fn_gets_fresh_values_with_their_labels():
    given = Value(3.0, "x")
    seen = []
    check_gradients(lambda v: seen.append(v) or v * 2, given)
    assert all(v is not given for v in seen)
    assert (seen[0].data, seen[0].label) == (3.0, "x")


def test_it_is_the_same_every_time():
    random.seed(1)
    first = check_gradients(lambda x, y: (x * y).sin(), 0.3, 2.0)
    state = random.getstate()
    assert check_gradients(lambda x, y: (x * y).sin(), 0.3, 2.0) == first
    assert random.getstate() == state


def test_the_tolerance_is_the_readers():
    with pytest.raises(GradientMismatch):
        check_gradients(wrong(1.00001), 1.0)
    assert check_gradients(wrong(1.00001), 1.0, tolerance=1e-3) == pytest.approx(1e-5, rel=1e-3)


def test_wrong_arguments():
    with pytest.raises(TypeError, match="needs the values to check fn at"):
        check_gradients(lambda: Value(1.0))
    with pytest.raises(TypeError, match="fn must return one Value, got an int: 3"):
        check_gradients(lambda x: 3, 1.0)
    with pytest.raises(TypeError, match="fn must return one Value, got a list"):
        check_gradients(lambda x: [x, x], 1.0)
    with pytest.raises(TypeError, match="fn must return one Value, got a NoneType"):
        check_gradients(lambda x: None, 1.0)
    with pytest.raises(TypeError, match=r"the str '3'; use float\(text\) first"):
        check_gradients(lambda x: x, "3")
    with pytest.raises(ZeroDivisionError):
        check_gradients(lambda x: x * (1 // 0), 1.0)


@pytest.mark.parametrize("tolerance", [0, -1.0, float("nan")])
def test_a_tolerance_is_above_zero(tolerance):
    with pytest.raises(ValueError, match="tolerance is relative and above 0"):
        check_gradients(lambda x: x * 2.0, 1.0, tolerance=tolerance)
