"""The engine, promise by promise, then beside independent references."""

import copy
import decimal
import gc
import itertools
import linecache
import math
import os
import pickle
import random
import re
import struct
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

import microgradx as mx
from microgradx import rules
from microgradx._base import floats
from microgradx.engine import PLAIN, Edge, Value, apply, dots, operand_of, order, sweep
from microgradx.ops import dot, maximum, mean, minimum
from microgradx.ops import sum as sum_of
from tests.interrupting import interrupted
from tests.operands import grouped

inf, nan = math.inf, math.nan


def bits(*xs: float) -> bytes:
    """The bytes of some floats, so that -0.0 and nan can be told and compared."""
    return b"".join(struct.pack("<d", nan if x != x else x) for x in xs)


def python(source: str, *flags: str, **environment: str) -> str:
    """The output of a fresh Python."""
    run = subprocess.run(
        [sys.executable, *flags, "-c", source],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def every_op(x: Value, y: Value) -> Value:
    """A graph in which every row of the table occurs."""
    parts = [x + 1.0, 2.0 * y, -x, +x, x - y, 1 - x, x / y, 1 / y, x**2, y**x, 2**x, x.silu()]
    for rule in rules.TABLE.values():
        parts.append(apply(rule, *grouped(rule, itertools.cycle([x, 2.0, y, x]), 4)))
    row = (x, y, 3.0)
    parts += [dot([y, x, 1.0], row, x), dot(row, row), mean(row), maximum(x, 1), minimum(0, y)]
    return sum_of(parts)


# --- a Value holds one Python float --------------------------------------------------------------


class Celsius(float):
    """A float that is more than a float."""


@pytest.mark.parametrize(
    "x, data",
    [
        (3, 3.0),
        (2.5, 2.5),
        (True, 1.0),
        (Fraction(1, 4), 0.25),
        (Celsius(20.5), 20.5),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.float16(0.5), 0.5),
        (np.int64(-7), -7.0),
        (np.uint8(7), 7.0),
        (np.bool_(True), 1.0),
        (np.array(2.5), 2.5),
        (np.array(3), 3.0),
        (inf, inf),
        (-0.0, -0.0),
        (2**1023, 2.0**1023),
    ],
)
def test_any_real_number_is_taken(x, data):
    for value in (Value(x), Value(0.0) + x, x + Value(-0.0), x * Value(1.0), maximum(x, x)):
        assert type(value.data) is float
        assert value.data == data
    assert bits(Value(x).data) == bits(data)


REFUSED = [
    ([1, 2, 3], "a Value holds one float, got a list of length 3; use [Value(x) for x in xs]"),
    ((1,), "a Value holds one float, got a tuple of length 1; use [Value(x) for x in xs]"),
    ("3", "a Value holds one float, got the str '3'; use float(text) first"),
    ("<b>" * 99, "use float(text) first"),
    (b"3", "got a bytes; pass an int, a float, a Fraction or a NumPy scalar"),
    (decimal.Decimal(1), "got a Decimal; pass an int, a float, a Fraction or a NumPy scalar"),
    (None, "got a NoneType; pass an int, a float, a Fraction or a NumPy scalar"),
    ({}, "got a dict; pass an int"),
    (object(), "got an object; pass an int"),
    (1 + 2j, "got the complex number (1+2j); only real numbers have gradients here, use x.real"),
    (np.complex128(2j), "use x.real"),
    (np.complex64(2j), "got a complex64"),
    (np.array([1.0, 2.0]), "got an ndarray of shape (2,); take its elements one by one"),
    (np.zeros((2, 3)), "got an ndarray of shape (2, 3); take its elements one by one"),
    (np.array([1.0]), "got an ndarray of shape (1,)"),
    (np.array(None), "a Value holds one float, got "),  # to the operators NumPy hands what it holds
    (np.array("3"), "a Value holds one float, got "),
    (np.datetime64("2020-01-01"), "got a datetime64"),
    (memoryview(b"abc"), "got a memoryview of shape (3,)"),
    (memoryview(np.array(1.0)), "got a memoryview"),
    (len, "got a builtin_function_or_method"),
]


@pytest.mark.parametrize("x, message", REFUSED, ids=[repr(x)[:9] for x, _ in REFUSED])
def test_everything_else_is_a_type_error_that_says_what_to_do(x, message):
    y = Value(2.0)
    for attempt in (
        lambda: Value(x),
        lambda: y + x,
        lambda: x + y,
        lambda: y - x,
        lambda: x - y,
        lambda: y * x,
        lambda: x * y,
        lambda: x / y,
        lambda: x**y,
        lambda: maximum(x, y),
        lambda: dot([y], [x]),
        lambda: sum_of([y, x]),
        lambda: y < x,
        lambda: x >= y,
        lambda: y.backward(x),
    ):
        with pytest.raises(TypeError) as error:
            attempt()
        assert message in str(error.value)
        assert len(str(error.value)) < 120
    assert y.grad == 0.0


def test_a_value_of_a_value_is_refused():
    with pytest.raises(TypeError, match="got a Value; use it as it is, or its .data"):
        Value(Value(1.0))


@pytest.mark.parametrize("x", [10**400, -(10**400), Fraction(10**400), Fraction(-(10**400), 3)])
def test_what_is_too_large_for_a_float_is_an_overflow_error(x):
    y = Value(1.0)
    for attempt in (lambda: Value(x), lambda: y + x, lambda: x * y, lambda: y**x, lambda: y < x):
        with pytest.raises(OverflowError, match="too large for a float, 1.8e308 at most"):
            attempt()


def test_numpy_leaves_the_arithmetic_to_value():
    x = Value(3.0)
    for y in (np.float64(2.0) * x, np.array(2.0) * x, np.float32(2.0) * x, np.int64(2) * x):
        assert type(y) is Value and (y.data, y.partials, y.op) == (6.0, (2.0,), "mul")
    assert (np.float64(7.0) - x).data == 4.0
    assert (np.float64(6.0) / x).data == 2.0
    assert np.float64(2.0) < x and not np.float64(4.0) < x
    with pytest.raises(TypeError, match=r"ndarray of shape \(2,\); take its elements one by one"):
        np.ones(2) * x
    with pytest.raises(TypeError, match=r"ndarray of shape \(2,\)"):
        np.ones(2) / x


# --- inputs and partials are parallel, in argument order, with repeats ---------------------------


def test_inputs_and_partials_are_parallel_with_repeats():
    x, y = Value(3.0), Value(5.0)
    z = x * x
    assert z.inputs == (x, x) and z.partials == (3.0, 3.0)
    assert z.edges == (Edge(x, z, 0, 3.0), Edge(x, z, 1, 3.0))
    assert (y / x).inputs == (y, x) and (y / x).partials == (1 / 3, -5 / 3 / 3)
    assert x.inputs == x.partials == x.edges == x.operands == ()


def test_a_bare_number_is_no_node():
    x = Value(3.0)
    for node, operands, position, partial in [
        (x + 1, (x, 1.0), 0, 1.0),
        (1 + x, (1.0, x), 1, 1.0),
        (x * 2, (x, 2.0), 0, 2.0),
        (2 * x, (2.0, x), 1, 2.0),
        (6 / x, (6.0, x), 1, -2 / 3),
        (x / 2, (x, 2.0), 0, 0.5),
        (x**2, (x, 2.0), 0, 6.0),
        (x.leaky_relu(), (x, 0.01), 0, 1.0),
        (x.clamp(0, 5), (x, 0.0, 5.0), 0, 1.0),
    ]:
        assert node.operands == operands and {*map(type, operands)} == {Value, float}
        assert node.inputs == (x,) and node.partials == (partial,)
        assert node.edges == (Edge(x, node, position, partial),)


def test_rows_of_values_and_numbers_keep_their_positions():
    a, b, c = Value(2.0), Value(3.0), Value(5.0)
    y = dot([a, 7.0, b], [c, b, 11.0], a)
    assert y.data == 2 + 10 + 21 + 33
    assert y.operands == ((a, 7.0, b), (c, b, 11.0), a)
    assert y.inputs == (a, b, c, b, a)
    assert y.partials == (5.0, 11.0, 2.0, 7.0, 1.0)
    assert [edge.position for edge in y.edges] == [0, 2, 3, 4, 6]
    assert sum_of([a, 1.0, a]).partials == (1.0, 1.0)
    assert dot([1.0], [2.0], 3.0).inputs == ()


def test_the_edges_are_what_backward_uses():
    x, y = Value(0.7), Value(1.3)
    output = every_op(x, y)
    output.backward()
    grads = {id(node): 0.0 for node in order(output)} | {id(output): 1.0}
    for node in order(output):
        for edge in node.edges:
            grads[id(edge.input)] += edge.partial * edge.node.grad
    assert all(grads[id(node)] == node.grad for node in order(output))


# --- leaves accumulate, an interruption changes nothing ------------------------------------------


def test_leaves_accumulate_and_interior_nodes_hold_the_latest_adjoint():
    x = Value(3.0)
    square = x * x
    y = 2 * square
    y.backward()
    assert (x.grad, square.grad, y.grad) == (12.0, 2.0, 1.0)
    y.backward()
    assert (x.grad, square.grad, y.grad) == (24.0, 2.0, 1.0)
    y.backward(-0.5)
    assert (x.grad, square.grad, y.grad) == (18.0, -1.0, -0.5)


def test_two_losses_over_one_trunk_add_up():
    x = Value(3.0)
    trunk = x * x
    first, second = trunk * 5, trunk.relu() * 7
    first.backward()
    second.backward()
    assert x.grad == 6 * 5 + 6 * 7
    assert trunk.grad == 7.0


def test_a_leaf_is_its_own_output():
    x = Value(3.0)
    x.backward()
    x.backward(2)
    assert x.grad == 3.0


def interruptible() -> tuple[list[Value], Value, list[float]]:
    """Leaves, an output over shared leaves, interior nodes and rows, and ∂output/∂leaf."""
    a, b, c = leaves = [Value(2.0), Value(3.0), Value(-5.0)]
    row = (a, b * c, 4.0, a)
    first, second = dot([c, a, b, 1.0], row, b), dot(row, row)
    output = first * second + second.relu() - a + sum_of([first, first])
    output.backward()
    grads = [leaf.grad for leaf in leaves]
    for leaf, grad in zip(leaves, (0.5, -7.0, 1e6)):
        leaf.grad = grad
    return leaves, output, grads


def test_an_interrupt_at_any_line_leaves_every_leaf_and_the_next_sweep_right():
    leaves, output, grads = interruptible()
    before = [leaf.grad for leaf in leaves]
    for n in itertools.count(1):
        was_interrupted = interrupted(output.backward, n)
        if not was_interrupted:
            break
        assert [leaf.grad for leaf in leaves] == before, f"line {n}"
        output.backward()
        after = [old + grad for old, grad in zip(before, grads)]
        assert [leaf.grad for leaf in leaves] == after, f"line {n}"
        for leaf, grad in zip(leaves, before):
            leaf.grad = grad
    assert n > 200
    assert [leaf.grad for leaf in leaves] == [old + grad for old, grad in zip(before, grads)]


def test_a_refused_seed_changes_nothing():
    x = Value(3.0)
    y = x * x
    y.backward()
    for seed in ("1", [1.0], None, y, 10**400):
        with pytest.raises((TypeError, OverflowError)):
            y.backward(seed)
    assert (x.grad, y.grad) == (6.0, 1.0)


# --- local derivatives are those of the forward pass ---------------------------------------------


def test_changing_data_afterwards_never_mixes_old_and_new():
    x, y = Value(0.7), Value(1.3)
    output = every_op(x, y)
    output.backward()
    expected = (output.data, x.grad, y.grad)
    x.grad = y.grad = 0.0
    for node in order(output)[1:]:
        node.data = 1e9
    output.backward()
    assert (output.data, x.grad, y.grad) == expected


def test_a_new_forward_pass_reads_the_new_data():
    x = Value(3.0)
    row = (x, 1.0)
    x.data = 5.0
    assert dot(row, row).data == 26.0
    assert dot(row, row).partials == (5.0, 5.0)


# --- no recursion over the graph -----------------------------------------------------------------

LINKS = {
    "unary": lambda x: x.relu(),
    "number": lambda x: x + 1.0,
    "binary": lambda x: x * x,
    "dot": lambda x: dot([x, 0.5], [1.0, x]),
    "sum": lambda x: sum_of([x]),
    "tuple": lambda x: dot((x,), (1.0,), x),
    "detach": lambda x: x.detach() + 1.0,
}

SHORT_CHAIN = """
import copy, sys
from tests.test_engine import LINKS, Value
sys.setrecursionlimit(200)
for name, link in LINKS.items():
    leaf = output = Value(1e-9)
    for _ in range(5_000):
        output = link(output)
    output.backward()
    twin = copy.deepcopy(output)
    del output, leaf
    twin.backward()
    del twin
    print(name)
"""


@pytest.fixture
def no_collector():
    """A large graph is built faster without it."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.slow
def test_a_chain_far_deeper_than_the_stack(no_collector, many):
    limit = sys.getrecursionlimit()
    leaf = output = Value(2.0)
    for _ in range(many(60_000, 1_000_000)):
        output = output * 1.0
    output.backward()
    assert (leaf.grad, output.data) == (1.0, 2.0)
    twin = copy.deepcopy(output)
    del output
    twin.backward(3.0)
    assert leaf.grad == 1.0
    assert order(twin)[-1].grad == 4.0
    del twin
    assert sys.getrecursionlimit() == limit


@pytest.mark.slow
def test_a_chain_of_a_hundred_thousand_dots(no_collector):
    leaf = output = Value(2.0)
    for _ in range(100_000):
        output = dot([output], [1.0])
    output.backward()
    assert leaf.grad == 1.0
    del output


def test_chains_of_every_make_under_a_low_recursion_limit():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    source = f"import sys; sys.path.insert(0, {root!r})\n{SHORT_CHAIN}"
    assert python(source).split() == list(LINKS)


# --- a dropped graph is freed by reference counting alone ----------------------------------------


def make_and_drop() -> None:
    x, y = Value(0.7), Value(1.3)
    output = every_op(x, y)
    output.backward()
    output.backward()
    assert output.edges and repr(output)
    copy.deepcopy(output).backward()


def test_nothing_is_left_for_the_collector():
    make_and_drop()
    gc.collect()
    gc.disable()
    try:
        values = len([x for x in gc.get_objects() if isinstance(x, Value)])
        blocks = sys.getallocatedblocks()
        for _ in range(20):
            make_and_drop()
        assert len([x for x in gc.get_objects() if isinstance(x, Value)]) == values
        assert gc.collect() == 0
        assert abs(sys.getallocatedblocks() - blocks) < 200
    finally:
        gc.enable()


# --- nothing depends on hash seeds or addresses --------------------------------------------------

GRADIENTS = """
import os, sys
sys.path.insert(0, {root!r})
junk = [bytearray(int(os.environ["JUNK"])) for _ in range(100)]
from tests.test_engine import random_graph, order
for seed in range(5):
    leaves, output = random_graph(seed, 200)
    output.backward()
    print(*[x.grad.hex() for x in leaves], *[x.grad.hex() for x in order(output)])
"""


def test_gradients_and_order_are_the_same_in_every_process():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    source = GRADIENTS.format(root=root)
    printed = {
        python(source, PYTHONHASHSEED=seed, JUNK=junk)
        for seed, junk in (("0", "1"), ("1", "1000"), ("31337", "65"))
    }
    assert len(printed) == 1 and len(printed.pop()) > 10_000


# --- IEEE results, never an exception ------------------------------------------------------------


def test_the_forward_pass_gives_ieee_results():
    one, zero = Value(1.0), Value(0.0)
    assert (one / zero).data == (1 / zero).data == (one / 0).data == inf
    assert (one / -0.0).data == -inf
    assert zero.log().data == -inf
    assert Value(710.0).exp().data == inf
    assert math.isnan((Value(-8.0) ** (1 / 3)).data)
    assert (Value(1e200) * 1e200).data == inf
    assert (Value(10.0) ** 400).data == inf
    assert (zero**-1).data == inf
    assert Value(-1.0).sqrt().data != Value(-1.0).sqrt().data


def test_relu_at_zero_and_of_nan():
    x = Value(0.0)
    x.relu().backward()
    assert x.grad == 0.0
    sick = Value(nan)
    y = sick.relu()
    y.backward()
    assert math.isnan(y.data) and sick.grad == 1.0


def test_a_zero_partial_times_an_infinite_adjoint_is_nan():
    x = Value(-1.0)
    (x.relu() * inf).backward()
    assert math.isnan(x.grad)


def test_division_does_not_overflow_where_its_derivative_does_not():
    x, y = Value(1e-200), Value(1e-200)
    (x / y).backward()
    assert (x.grad, y.grad) == (1e200, -1e200)


@pytest.mark.parametrize("x", [0.0, -0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, inf, -inf, nan])
def test_no_op_raises_forwards_or_backwards(x):
    for y in (0.0, -0.0, 1.0, -2.5, 1e308, inf, -inf, nan):
        output = every_op(Value(x), Value(y))
        output.backward()
        output.backward(inf)
        assert isinstance(output.data, float) and isinstance(output.grad, float)


# --- comparisons, bool, float; == and hash are the object's --------------------------------------


def test_comparisons_compare_data():
    x, y = Value(1.0), Value(2.0)
    assert x < y and x <= y and y > x and y >= x and not x > y
    assert x < 2 and 2 > x and x <= 1 and 1 >= x and not x < 1 and 0.5 < x
    assert sorted([y, x], key=float) == [x, y] and max([x, y]) is y
    assert not (Value(nan) < 1) and not (Value(nan) > 1)


def test_equality_and_hash_are_identity():
    x, y = Value(1.0), Value(1.0)
    assert x == x and x != y and x != 1.0
    assert {x: "x", y: "y"}[x] == "x" and len({x, y, x}) == 2


def test_bool_and_float():
    assert bool(Value(0.1)) and bool(Value(nan)) and not Value(0.0) and not Value(-0.0)
    assert float(Value(2.5)) == 2.5 and math.sqrt(Value(4.0)) == 2.0


# --- a wrong width is a ValueError ---------------------------------------------------------------

WIDTHS = """
from microgradx.engine import Value
from microgradx.ops import dot, sum, mean, logsumexp
for attempt in (lambda: dot([Value(1.0)] * 3, [1.0, 2.0]), lambda: dot([], []), lambda: sum([]),
                lambda: dot([1.0], []), lambda: mean([]), lambda: logsumexp(iter([]))):
    try:
        attempt()
    except ValueError as error:
        print(error)
"""


@pytest.mark.parametrize("flags", [[], ["-O"]])
def test_a_wrong_width_names_expected_and_got(flags):
    assert python(WIDTHS, *flags).splitlines() == [
        "dot expected 3 xs, as many as weights, got 2",
        "dot of no weights; pass at least one",
        "sum of no xs; pass at least one",
        "dot of no xs; pass at least one",
        "sum of no xs; pass at least one",
        "logsumexp of no xs; pass at least one",
    ]


def test_lists_of_nothing_or_of_two_widths_make_no_node():
    for operands, message in ((([], []), "dot of no weights"), (([1.0], []), "dot of no xs"),
                              (([1.0], [1.0, 2.0]), "dot expected 1 xs, as many")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            apply(rules.dot, *operands, 0.0)


def test_an_edge_that_a_node_has_not_has_no_operand():
    x = Value(2.0)
    y = dot([x, 1.0], [3.0, x], x)
    assert [operand_of(edge) for edge in y.edges] == [0, 1, 2]
    with pytest.raises(IndexError, match="has no operand 5"):
        operand_of(Edge(x, y, 5, 1.0))


def test_too_many_or_too_few_operands():
    x = Value(2.0)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        x.maximum()
    with pytest.raises(TypeError):
        x.relu(1.0)
    with pytest.raises(TypeError, match=r"relu takes 1 operand \(x\), got 2"):
        apply(rules.relu, x, 1.0)


# --- repr is one line under 80 characters, and has no side effects -------------------------------

LABELS = ["", "w", "x" * 500, "a\nb\r\tc", '"quoted" \'both\'', "\\" * 60, "<b></text><script>",
          "🙂" * 80, "\x00\x1b[31m", "\u202e", "\ud800", "é" * 40]  # fmt: skip
EXTREMES = [0.0, -1.2345678912345e-308, -1.7976931348623157e308, inf, nan, 5e-324]


@pytest.mark.parametrize("label", LABELS, ids=range(len(LABELS)))
def test_repr_is_one_short_line(label):
    for data, grad in itertools.product(EXTREMES, EXTREMES):
        nodes = [Value(data, label), *every_op(Value(data), Value(grad)).inputs]
        for node in nodes if data == grad else nodes[:1]:
            node.label, node.grad = label, grad
            text = repr(node)
            assert len(text) <= 79 and len(text.splitlines()) == 1
            assert text.startswith(f"Value(data={node.data:.6g}, grad={grad:.6g}")
            assert text.endswith(")") and f"op={node.op}"[:14] in text or not node.op


def test_looking_changes_nothing():
    x, y = Value(0.7, "x"), Value(1.3)
    output = every_op(x, y)
    output.backward()

    def state():
        nodes = order(output)
        return [(id(n), n.data, n.grad, n.label, n.op, n._readers) for n in nodes]

    before = state()
    for node in order(output):
        for look in (repr, hash, float, bool, dir):
            look(node)
        for name in ("op", "inputs", "partials", "edges", "operands"):
            getattr(node, name)
    assert state() == before
    assert repr(x) == f"Value(data=0.7, grad={x.grad:.6g}, label='x')"
    assert repr(Value(2.0) * 3) == "Value(data=6, grad=0, op=mul)"


# --- micrograd's code runs with only its imports changed -----------------------------------------


def test_the_example_of_micrograds_readme():
    a = Value(-4.0)
    b = Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    assert f"{g.data:.4f}" == "24.7041"
    g.backward()
    assert f"{a.grad:.4f}" == "138.8338"
    assert f"{b.grad:.4f}" == "645.5773"


def test_micrograds_sanity_check():
    x = Value(-4.0)
    z = 2 * x + 2 + x
    q = z.relu() + z * x
    h = (z * z).relu()
    y = h + q + q * x
    y.backward()
    assert (y.data, x.grad) == (-20.0, 46.0)


def test_pythons_own_sum_and_operators():
    xs = [Value(float(i)) for i in range(4)]
    total = sum((x * x for x in xs), Value(0.0)) / 2 - sum(xs)
    total.backward()
    assert [x.grad for x in xs] == [-1.0, 0.0, 1.0, 2.0]


# --- the twins of rules.add and rules.mul -----------------------------------------------------

TWINNED = [0.0, -0.0, 1.0, -1.0, 0.1, 1 / 3, 1e308, -1e308, 5e-324, 1e16, inf, -inf, nan]


@pytest.mark.parametrize("x", TWINNED)
def test_the_inlined_twins_are_their_rows(x):
    dice = random.Random(0)
    for y in (*TWINNED, *[dice.gauss(0, 10.0**k) for k in range(-9, 9)]):
        for rule, node in ((rules.add, lambda a, b: a + b), (rules.mul, lambda a, b: a * b)):
            data, dx, dy = rule(floats, x, y)
            both, left, right = node(Value(x), Value(y)), node(Value(x), y), node(x, Value(y))
            assert {n.rule for n in (both, left, right)} == {rule}
            assert bits(both.data) == bits(left.data) == bits(right.data) == bits(data)
            assert bits(*both.partials) == bits(dx, dy)
            assert bits(*left.partials) == bits(dx)
            assert bits(*right.partials) == bits(dy)
            assert bits(left.operands[1]) == bits(y) and bits(right.operands[0]) == bits(x)


@pytest.mark.parametrize("seed", range(20))
def test_the_fast_order_and_sweep_are_the_plain_ones(seed):
    leaves, output = random_graph(seed, 60)
    assert order is not PLAIN["order"] and order(output) == PLAIN["order"](output)
    assert order(output, leaves[0], output) == PLAIN["order"](output, leaves[0], output)
    fast, plain = [], []
    for backward, grads in ((Value.backward, fast), (PLAIN["backward"], plain)):
        for leaf in leaves:
            leaf.grad = 0.5
        backward(output, -1.25)
        grads += [bits(node.grad) for node in order(output)]
    assert fast == plain
    swept = {node: bits(adjoint) for node, adjoint in sweep(output)}
    for leaf in leaves:
        leaf.grad = 0.0
    output.backward()
    assert swept == {node: bits(node.grad) for node in order(output)}


def test_the_plain_sweep_pauses_too(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: seen.append(x.grad))
    x = Value(3.0)
    PLAIN["backward"](x * x, pause=lambda visit: visit.node is x)
    assert (seen, x.grad) == ([6.0], 6.0)


def test_an_exception_in_the_midst_of_a_sweep_or_an_order_leaves_all_as_it_was():
    x, y = Value(2.0), Value(3.0)
    x.grad = y.grad = 0.5
    bad = x * y
    output = bad + y * x
    bad._da = "no number"
    with pytest.raises(TypeError):
        output.backward()
    assert (x.grad, y.grad) == (0.5, 0.5)
    bad._da, bad._b = 3.0, "no node"
    with pytest.raises(AttributeError):
        order(output)
    bad._b = y
    output.backward()
    assert (x.grad, y.grad) == (6.5, 4.5)


def test_sweep_writes_nothing_and_takes_other_partials():
    x, y = Value(2.0), Value(3.0)
    z = x * y + x
    assert list(sweep(z, 10.0)) == [(z, 10.0), (z.inputs[0], 10.0), (x, 40.0), (y, 20.0)]
    assert not any(node.grad for node in order(z))
    ones = dict(sweep(z, Fraction(1), lambda node: [Fraction(1)] * len(node.inputs)))
    assert ones == {z: 1, z.inputs[0]: 1, x: 2, y: 1}


@pytest.mark.parametrize("x", TWINNED)
def test_the_fast_operators_and_methods_are_the_plain_ones(x):
    def facts(node):
        return node.rule, bits(node.data), bits(*node.partials), node.inputs

    a, b = Value(x), Value(-0.75)
    for other in (b, 2.5, a):
        for name in ("__add__", "__mul__"):
            assert facts(getattr(a, name)(other)) == facts(PLAIN[name](a, other))
    for name in ("__radd__", "__rmul__"):
        assert facts(getattr(a, name)(2.5)) == facts(PLAIN[name](a, 2.5))
    for rule in rules.TABLE.values():
        if len(rule.operands) == 1 and not rule.lists:
            assert facts(getattr(a, rule.name)()) == facts(apply(rule, a))


def test_an_op_as_a_function_is_one_of_ops_and_has_a_line():
    assert pickle.loads(pickle.dumps(mx.tanh)) is mx.tanh and mx.tanh.__module__ == "microgradx.ops"
    line = linecache.getline(mx.engine.__file__, mx.tanh.__code__.co_firstlineno)
    assert "def {rule.name}(" in line  # a debugger shows it


def test_a_layer_of_dots_is_dots():
    values = [Value(x) for x in (0.1, -2.5, 1e300, 3.0)]
    lists = (tuple(values[:2]), (1.5, values[3]), (2.0, -1.0))
    for xs, bias, kind in itertools.product(lists, (values[2], 4.0), (tuple, list, iter)):
        found = dots([*lists, values[1:3]], kind(xs), [bias] * 4)
        for row, made in zip([*lists, values[1:3]], found):
            plain = apply(rules.dot, row, xs, bias)
            assert bits(made.data) == bits(plain.data) and made.inputs == plain.inputs
            assert bits(*made.partials) == bits(*plain.partials)
            assert made.operands == plain.operands
            assert [e.position for e in made.edges] == [e.position for e in plain.edges]


def test_compositions_are_what_they_say():
    x, y = Value(0.7), Value(1.3)
    assert (x - y).data == 0.7 - 1.3 and (1 - x).data == 1 - 0.7 and (x - 1).data == 0.7 - 1
    assert mean([x, y, 1.0]).data == (0.7 + 1.3 + 1.0) / 3
    assert x.silu().data == 0.7 * x.sigmoid().data
    assert maximum(x, y).data == 1.3 and minimum(x, 0).data == 0.0 and x.maximum(2).data == 2.0


# --- backward against independent references --------------------------------------------------


def small_integer_graph(seed: int):
    """A random graph over small integers, with its operands and exact partials kept aside."""
    dice = random.Random(seed)
    nodes = [Value(dice.choice((-2, -1, 0, 1, 2, 3))) for _ in range(3)]
    known = {id(node): [] for node in nodes}  # node -> [(input, partial)]
    for _ in range(dice.randrange(2, 9)):
        kind = dice.choice(("add", "mul", "neg", "dot", "number"))
        a, b, c = (dice.choice(nodes[-4:]) for _ in range(3))
        x, y, z = (Fraction(node.data) for node in (a, b, c))
        if kind == "add":
            node, partials = a + b, [(a, 1), (b, 1)]
        elif kind == "mul":
            node, partials = a * b, [(a, y), (b, x)]
        elif kind == "neg":
            node, partials = a - b * 1, [(a, 1), (b, -1)]
        elif kind == "number":
            node, partials = 3 * a + 1, [(a, 3)]
        else:
            node = dot([a, 2, b], [b, c, c], a)
            partials = [(a, y), (b, z), (b, x), (c, 2), (c, y), (a, 1)]
        nodes.append(node)
        known[id(node)] = [(input, Fraction(d)) for input, d in partials]
    return nodes, known


@pytest.mark.parametrize("seed", range(150))
def test_backward_is_the_sum_over_all_paths(seed):
    nodes, known = small_integer_graph(seed)
    sums = {id(node): Fraction(0) for node in nodes}
    paths = [(nodes[-1], Fraction(1))]
    for node, product in paths:  # every path from the output downwards, one by one
        sums[id(node)] += product
        paths += [(input, product * d) for input, d in known[id(node)]]
    nodes[-1].backward()
    for node in nodes:
        if node in order(nodes[-1]):
            assert Fraction(node.grad) == sums[id(node)]
        else:
            assert node.grad == 0.0


class Dual:
    """x + x′ε with ε² = 0: forward-mode differentiation, on its own arithmetic."""

    def __init__(self, x, dx=0.0):
        self.x, self.dx = x, dx

    def __add__(self, other):
        other = dual(other)
        return Dual(self.x + other.x, self.dx + other.dx)

    def __mul__(self, other):
        other = dual(other)
        return Dual(self.x * other.x, self.dx * other.x + self.x * other.dx)

    def __sub__(self, other):
        return self + dual(other) * -1.0

    def __truediv__(self, other):
        other = dual(other)
        return Dual(self.x / other.x, (self.dx * other.x - self.x * other.dx) / (other.x * other.x))

    def sin(self):
        return Dual(math.sin(self.x), math.cos(self.x) * self.dx)

    def tanh(self):
        return Dual(math.tanh(self.x), self.dx / math.cosh(self.x) ** 2)

    def relu(self):
        return self if self.x > 0 else Dual(0.0)

    def detach(self):
        return Dual(self.x)


def dual(x) -> Dual:
    return x if isinstance(x, Dual) else Dual(x)


def dual_dot(weights, xs, bias=0.0):
    total = dual(bias)
    for w, x in zip(weights, xs):
        total = total + dual(w) * x
    return total


def random_program(seed: int, length: int, xs: list, make_row, dot) -> object:
    """The same random computation on Values or on Duals: shared rows, repeats, bare numbers."""
    dice = random.Random(seed)
    nodes = list(xs)
    for _ in range(length):
        a, b = dice.choice(nodes[-12:]), dice.choice(nodes)
        kind = dice.randrange(9)
        if kind == 0:
            nodes.append(a + b)
        elif kind == 1:
            nodes.append((a * b).tanh())
        elif kind == 2:
            nodes.append(a - b * 0.5)
        elif kind == 3:
            nodes.append(a / (b * b + 1.0))
        elif kind == 4:
            nodes.append(a.sin())
        elif kind == 5:
            nodes.append(a.relu() + b)
        elif kind == 6:
            nodes.append((a.detach() * b).tanh())
        else:  # a small layer: one row of Values and numbers, repeats among them, several dots
            row = make_row([dice.choice([*nodes[-6:], 0.25]) for _ in range(4)])
            for _ in range(3):
                weights = [dice.choice([*xs, dice.gauss(0, 0.5)]) for _ in range(4)]
                nodes.append(dot(weights, row, dice.choice([a, 0.1])).tanh())
    return dot([1.0] * 12, make_row(nodes[-12:])) if length > 12 else nodes[-1]


def random_graph(seed: int, length: int) -> tuple[list[Value], Value]:
    dice = random.Random(-seed - 1)
    leaves = [Value(dice.gauss(0, 1)) for _ in range(5)]
    return leaves, dot([1.0], [random_program(seed, length, leaves, tuple, dot)])


@pytest.mark.parametrize("length", [5, 30, 300])
@pytest.mark.parametrize("seed", range(12))
def test_backward_is_forward_mode_turned_round(seed, length):
    leaves, output = random_graph(seed, length)
    output.backward()
    for i, leaf in enumerate(leaves):
        duals = [Dual(x.data, float(x is leaf)) for x in leaves]
        expected = random_program(seed, length, duals, list, dual_dot)
        assert output.data == pytest.approx(expected.x, rel=1e-9, abs=1e-12)
        assert leaf.grad == pytest.approx(expected.dx, rel=1e-7, abs=1e-9), i


@pytest.mark.parametrize("seed", range(12))
def test_the_order_has_every_node_once_and_before_its_inputs(seed):
    _, output = random_graph(seed, 100)
    nodes = order(output)
    place = {node: i for i, node in enumerate(nodes)}
    assert nodes[0] is output and len(place) == len(nodes)
    for node in nodes:
        assert all(place[node] < place[input] for input in node.inputs)
        assert node._readers == 0
    assert order(output) == nodes


def test_a_row_shared_by_many_nodes_is_one_row():
    x, y = Value(2.0), Value(3.0)
    row = (x, y, 1.0, x)
    outputs = [dot([1.0, w, 1.0, 1.0], row) for w in (Value(10.0), Value(20.0))]
    total = sum_of(outputs)
    assert outputs[0].operands[1] is outputs[1].operands[1]
    total.backward()
    assert (x.grad, y.grad) == (4.0, 30.0)


# --- detach -----------------------------------------------------------------------------------


def test_detach_keeps_what_it_cut_and_lets_no_gradient_through():
    x = Value(3.0)
    y = x.detach()
    assert (y.data, y.op) == (3.0, "detach")
    assert y.operands == (x,)
    assert y.edges == y.inputs == y.partials == ()
    (y * x).backward()
    assert (x.grad, y.grad) == (3.0, 3.0)


@pytest.mark.parametrize("adjoint", [inf, -inf, nan])
def test_detach_stops_even_an_infinite_adjoint(adjoint):
    x = Value(3.0)
    x.grad = 7.0
    y = x.detach()
    (y * adjoint).backward()
    assert x.grad == 7.0 and bits(y.grad) == bits(adjoint)


# --- copies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_deep_copy_is_a_twin_that_shares_nothing(seed):
    leaves, output = random_graph(seed, 60)
    output.label = "loss"
    output.backward()
    before = [leaf.grad for leaf in leaves]
    twin = copy.deepcopy(output)
    pairs = list(zip(order(output), order(twin)))
    assert len(order(output)) == len(order(twin))
    for old, new in pairs:
        assert old is not new and type(old) is type(new) and old.rule is new.rule
        assert (old.data, old.grad, old.label) == (new.data, new.grad, new.label)
        assert old.partials == new.partials
        assert [e.position for e in old.edges] == [e.position for e in new.edges]
    assert not {*map(id, order(output))} & {*map(id, order(twin))}
    twin.backward()
    assert [leaf.grad for leaf in leaves] == before
    twins = dict(pairs)
    assert [twins[leaf].grad for leaf in leaves if leaf in twins] == [
        2 * leaf.grad for leaf in leaves if leaf in twins
    ]


def test_a_deep_copy_reaches_behind_a_detach():
    x = Value(3.0, "x")
    hidden = x * x
    output = (hidden.detach() + 1.0).detach() * x
    twin = copy.deepcopy(output)
    one = twin.operands[0].operands[0]
    cut = one.operands[0].operands[0]
    assert cut.data == 9.0 and cut is not hidden
    assert cut.inputs == (twin.operands[1],) * 2
    assert twin.operands[1] is not x


def test_a_deep_copy_keeps_rows_shared():
    x, y = Value(2.0), Value(3.0)
    row = (x, 1.0, y)
    output = dot([1.0, x, 2.0], row) * dot([y, 1.0, 2.0], row)
    twin = copy.deepcopy(output)
    first, second = (node.operands[1] for node in twin.inputs)
    assert first is second and first is not row and first[1] == 1.0
    assert len(order(twin)) == len(order(output)) == 5


@pytest.mark.parametrize("names", [("w", "loss"), ("loss", "w")])
def test_a_deep_copied_module_and_its_graph_stay_one(names):
    w = Value(3.0, "w")
    row = (w, w * 2)
    loss = dot(row, row).tanh() + w.detach()
    everything = {"w": w, "loss": loss, "row": row}
    twins = copy.deepcopy({name: everything[name] for name in (*names, "row")})
    leaf = order(twins["loss"])[-1]
    assert twins["w"] is leaf is twins["row"][0] and leaf is not w
    assert twins["loss"].operands[1].operands[0] is leaf
    twins["loss"].backward()
    assert (w.grad, leaf.grad != 0.0) == (0.0, True) or loss.data == 1.0


def test_a_shallow_copy_reads_the_same_inputs():
    x = Value(3.0)
    y = x * x
    twin = copy.copy(y)
    assert twin is not y and twin.inputs == (x, x) and twin.rule is rules.mul


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_leaves_and_small_graphs_can_be_pickled(protocol):
    w = Value(2.5, "layers.0.weight[2,1]")
    w.grad = -1.5
    twins = pickle.loads(pickle.dumps([w, w, w * w], protocol))
    assert repr(twins[0]) == repr(w) and twins[0] is twins[1]
    assert twins[2].inputs == (twins[0], twins[0]) and twins[2].rule is rules.mul


def test_a_number_beside_a_row_is_a_float_without_a_partial():
    node = apply(rules.dot, [Value(2.0)], [3.0], 5)
    assert node.data == 11.0
    assert type(node.operands[-1]) is float and node.operands[-1] == 5.0
    assert node.partials == (3.0,)


# --- as a number, and in other people's words -----------------------------------------------------


def test_formats_rounds_and_truncates_as_its_number_does():
    for number in (2.34567, -0.5, 0.0, 1e300):
        x = Value(number, "x")
        assert f"{x:.4f}" == f"{number:.4f}" and f"{x:>9.2e}" == f"{number:>9.2e}"
        assert (round(x), round(x, 2), int(x)) == (round(number), round(number, 2), int(number))
        assert f"{x}" == str(x) == f"{x!r}" and type(round(x)) is int
    with pytest.raises(ValueError):
        f"{x:d}"
    for number in (math.inf, math.nan):
        with pytest.raises((OverflowError, ValueError)):
            int(Value(number))


def test_numbers_of_numpy_take_part_in_every_operator():
    x, a = Value(2.0), np.float64(3.0)
    for other in (a, np.float32(3.0), np.int64(3), np.array(3.0)):
        pairs = [(other + x, 3.0 + x), (other - x, 3.0 - x), (other * x, 3.0 * x),
                 (other / x, 3.0 / x), (other**x, 3.0**x)]  # fmt: skip
        for ours, plain in pairs:
            assert (ours.data, ours.op, ours.partials) == (plain.data, plain.op, plain.partials)
        assert (other < x, other <= x, other > x, other >= x) == (False, False, True, True)
        assert (other == x) is False and (other != x) is True


@pytest.mark.parametrize(
    "name, use",
    [
        ("exp", "x.exp()"), ("tanh", "x.tanh()"), ("maximum", "x.maximum(y)"), ("square", "x ** 2"),
        ("absolute", "abs(x)"), ("multiply", "x * y"), ("isnan", "x.data"),
    ],
)  # fmt: skip
def test_a_function_of_numpy_says_what_to_use(name, use):
    ufunc = getattr(np, name)
    with pytest.raises(TypeError, match=re.escape(f"np.{name} takes no Value; use {use}")):
        ufunc(*[Value(2.0)] * ufunc.nin)


def test_a_function_for_silu_makes_the_same_graph_as_the_method():
    x = Value(0.7)
    one, other = x.silu(), mx.silu(x)
    assert (one.data, one.op, one.partials) == (other.data, other.op, other.partials)
    assert mx.silu(0.7).data == one.data
    with pytest.raises(TypeError):
        mx.silu("0.7")
