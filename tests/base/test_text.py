"""Labels name layers, neurons and parameters; numbers have three digits."""

import pytest

from microgradx._base.text import (
    clip,
    common_place,
    few,
    kind_of,
    listed,
    names_parameter,
    on_all,
    place,
    repeated,
    short,
    squeeze,
    term,
)

PLACES = [
    ("layers.0[2]", ("layers.0", "2")),
    ("layers.0[2].z", ("layers.0", "2")),
    ("up[4,2].z", ("up", "2")),
    ("conv[5,4,2]", ("conv", "2")),
    ("conv.weight[2,0,1,1]", ("conv", "2")),
    ("layers.0.weight[2,1]", ("layers.0", "2")),
    ("layers.0.bias[12]", ("layers.0", "12")),
    ("net.layers.3[0]", ("net.layers.3", "0")),
    ("bias[1]", ("bias", "1")),
    ("x", ("", "")),
    ("", ("", "")),
    ("[2]", ("", "")),
    ("layers.0[2].y", ("", "")),
    ("layers.0[a]", ("", "")),
    ("layers.0[2] ", ("", "")),
    ("a\nb[1]", ("", "")),
]


@pytest.mark.parametrize("label, expected", PLACES)
def test_place(label, expected):
    assert place(label) == expected


@pytest.mark.parametrize(
    "one, other, expected",
    [
        (("a", "1"), ("a", "1"), ("a", "1")),
        (("a", "1"), ("a", "2"), ("a", "")),
        (("a", "1"), ("b", "1"), ("", "")),
        (("a", "1"), ("", ""), ("", "")),
        (("", ""), ("", ""), ("", "")),
    ],
)
def test_common_place(one, other, expected):
    assert common_place(one, other) == common_place(other, one) == expected


@pytest.mark.parametrize(
    "label",
    ["w", "w1", "b", "weight", "bias[2]", "layers.0.weight[2,1]", "layers.0.bias[2]", "net.w3",
     "rnn.weight_ih_l0[2,1]", "attn.in_proj_bias[3]", "bias_hh_l1_reverse[0]"],
)  # fmt: skip
def test_names_of_parameters(label):
    assert names_parameter(label)


@pytest.mark.parametrize(
    "label", ["", "x", "x1", "loss", "layers.0[2]", "layers.0[2].z", "wide", "weights"]
)
def test_names_of_others(label):
    assert not names_parameter(label)


@pytest.mark.parametrize(
    "x, expected",
    [
        (0.25, ("0.25", "0.25")),
        (-1.5e-07, ("-1.5e-7", "(-1.5e-7)")),
        (1e100, ("1e100", "1e100")),
        (-0.0, ("0", "0")),
        (float("-inf"), ("-inf", "(-inf)")),
        (float("nan"), ("nan", "nan")),
    ],
)
def test_a_number_as_it_is_in_a_sentence_and_after_a_sign(x, expected):
    assert (short(x), term(x)) == expected


def test_a_long_text_loses_its_end_or_its_middle():
    assert (clip("abcdefg", 6), squeeze("abcdefg", 6)) == ("abcde…", "abc…fg")
    assert clip("abcdef", 6) == squeeze("abcdef", 6) == "abcdef"


def test_a_type_is_said_with_its_article():
    class ndarray: ...

    things = "", 1, [], {}, object(), ndarray(), None
    said = ["a str", "an int", "a list", "a dict", "an object", "an ndarray", "a NoneType"]
    assert [kind_of(x) for x in things] == said


@pytest.mark.parametrize("n, words", [
    (1, "on this sample"), (2, "on both samples"), (3, "on all 3 samples"),
    (1000, "on all 1,000 samples"),
])  # fmt: skip
def test_on_all(n, words):
    assert on_all(n) == words


@pytest.mark.parametrize("n", range(8))
def test_what_is_left_out_is_never_a_single_one(n):
    things = [*"abcdefg"[:n]]
    shown, rest = few(things, 3)
    assert len(shown) + rest == n and [*shown] == things[: len(shown)]
    assert rest != 1 and (rest == 0) == (n <= 4)
    assert listed(things, 3) == ", ".join(shown) + (f" and {rest} more" if rest else "")


def test_things_alike_are_counted():
    assert [repeated("a", n) for n in (1, 2, 3, 3000)] == [
        "a", "a (twice)", "a (3 times)", "a (3,000 times)",
    ]  # fmt: skip
