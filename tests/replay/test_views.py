"""The text of a view picks what it was asked for, and nothing else has such a text."""

import itertools

import numpy as np
import pytest

import microgradx as mx
from microgradx.engine import Value
from microgradx.replay import record
from microgradx.replay.views import has_gaps, view_text

SUBSCRIPTS = (":", "1", "0:2", "1:", "::2", "0:1", "None")
DIMS = [(), (4,), (3, 4), (2, 3, 4)]


def picked():
    """(what is picked, the dims of the array that it is picked from), evenly in every way."""
    for dims in DIMS:
        whole = np.arange(np.prod(dims, dtype=int)).reshape(dims)
        for parts in itertools.product(SUBSCRIPTS, repeat=len(dims)):
            part = eval(f"whole[{', '.join(parts)}]") if parts else whole
            for order in itertools.permutations(range(part.ndim)):
                yield part.transpose(order), dims


@pytest.mark.some(1)
@pytest.mark.parametrize(("inner", "outer"), [((), ()), ((), (1,)), ((5,), (5,))])
def test_a_view_has_the_elements_it_was_asked_for(inner, outer):
    for index, dims in picked():
        text = view_text(index, dims, inner, outer)
        assert text is not None or (len(dims) == 1 and index.ndim > 1)
        array = np.random.default_rng(0).normal(size=dims + inner)
        if text is not None:
            view = eval(f"array{text}")
            expected = array.reshape(-1, *inner)[index].reshape(index.shape + outer)
            assert np.array_equal(np.broadcast_to(view, expected.shape), expected), (index, text)
            assert has_gaps(text) or np.shares_memory(view.reshape(-1), array)


def test_uneven_places_have_no_view():
    for index in ([0, 1, 3], [2, 1, 0], [0, 0], [0, 5], [3, 4]):
        assert view_text(np.array(index), (3, 4), (), ()) is None


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_an_array_of_three_dimensions_is_read_in_any_order_of_its_axes(order):
    w, dice = Value(2.0), np.random.default_rng(0)
    x, y = dice.normal(size=(2, 3, 4)), dice.normal(size=(2, 3, 4)).transpose(order)

    def fn(x, y):
        x, y = np.array(x), np.array(y)
        return mx.sum([(w * a * b).sin() for a, b in zip(x.flat, y.transpose(back).flat)])

    back = np.argsort(order)
    expected = np.sin(2.0 * x * y.transpose(back)).sum()
    assert record(fn, x, y)([x], [y]) == pytest.approx(expected, rel=1e-13)
