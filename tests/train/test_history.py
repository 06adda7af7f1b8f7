"""A history shows itself: a curve that is where its numbers are, a table, words for a terminal."""

import base64
import math
import re
from xml.etree import ElementTree

import pytest

from microgradx.train import Epoch, History
from microgradx.train.curve import HEIGHT, STEPS, WIDTH, curve


def history_of(losses, validation=None, **metrics):
    held = validation or [None] * len(losses)
    return History(Epoch(x, v, metrics, {"w": -1.0}, 0.25) for x, v in zip(losses, held))


def svg_and_words(losses, validation=None):
    image, words = curve(losses, validation or [None] * len(losses)).split("\n")
    [source] = re.findall('base64,(.*?)"', image)
    return base64.b64decode(source).decode(), words


def drawn(losses, validation=None):
    """The paths of the curve as lists of pieces of points, and its words."""
    svg, words = svg_and_words(losses, validation)
    space = "{http://www.w3.org/2000/svg}"
    *paths, axes = ElementTree.fromstring(svg).iter(f"{space}path")
    pieces = [
        [
            [tuple(map(float, point.split())) for point in piece.split("L")]
            for piece in path.get("d").split("M")[1:]
        ]
        for path in paths
    ]
    return pieces, words[len("<p>") : -len("</p>")]


def test_a_linear_curve_has_its_points_where_the_losses_are():
    [[points]], words = drawn([4.0, 3.0, 2.0])
    assert points == [(0, 2), (WIDTH / 2, HEIGHT / 2), (WIDTH, HEIGHT - 2)]
    assert words == "The loss by epoch, 1 to 3: 4 at the top, 2 at the bottom."


def test_a_loss_of_decades_is_drawn_by_decades():
    [[points]], words = drawn([100.0, 1.0, 0.01])
    assert [y for _, y in points] == [2, HEIGHT / 2, HEIGHT - 2]
    assert words.endswith("100 at the top, 0.01 at the bottom, on a logarithmic scale.")
    assert "logarithmic" not in drawn([10.0, 1.0])[1] + drawn([100.0, -1.0])[1]


def test_a_validation_loss_is_dashed():
    pieces, words = drawn([2.0, 1.0], [2.0, 1.5])
    assert pieces[1] == [[(0, 2.0), (WIDTH, HEIGHT / 2)]]
    assert words.endswith("1 at the bottom; dashed, the validation loss.")
    assert svg_and_words([2.0, 1.0], [2.0, 1.5])[0].count("stroke-dasharray") == 1
    assert "dash" not in "".join(svg_and_words([2.0, 1.0]))


GAPS = [
    ([3.0, math.nan, 2.0, 1.0], [1, 2]),
    ([math.inf, 3.0, 1.0], [2]),
    ([3.0, 1.0, math.nan], [2]),
]


@pytest.mark.parametrize("losses, sizes", GAPS)
def test_a_loss_that_is_not_finite_leaves_a_gap(losses, sizes):
    [pieces], _ = drawn(losses)
    assert [len(points) for points in pieces] == sizes
    heights = [y for points in pieces for _, y in points]
    assert (min(heights), max(heights)) == (2, HEIGHT - 2)


@pytest.mark.parametrize("losses", [[], [1.0], [math.nan, math.nan], [math.inf] * 3])
def test_where_there_is_no_curve_there_is_none(losses):
    assert curve(losses, [None] * len(losses)) == ""
    assert "<img" not in history_of(losses)._repr_html_()


EDGES = [[1.0, 1.0], [0.0, 0.0], [1e308, -1e308], [5e-324, 1e308], [1e-300, 2e-300], [-0.0, 0.0]]


@pytest.mark.parametrize("losses", EDGES)
def test_no_loss_leaves_the_frame(losses):
    pieces, words = drawn(losses)
    assert all(2 <= y <= HEIGHT - 2 for piece in pieces[0] for _, y in piece)
    assert "nan" not in words and "-0 " not in words
    assert ("bottom" in words) == (losses[0] != losses[1])


def test_of_very_many_epochs_no_spike_is_lost():
    losses = [1.0 + 0.1 * math.sin(i) for i in range(5000)]
    losses[1234], losses[4321] = 2.0, 0.5
    [[points]], words = drawn(losses)
    assert len(points) <= 2 * STEPS + 2
    heights = {y: x for x, y in points}
    assert heights[2.0] == pytest.approx(WIDTH * 1234 / 4999, abs=0.06)
    assert heights[HEIGHT - 2.0] == pytest.approx(WIDTH * 4321 / 4999, abs=0.06)
    assert points == sorted(points) and points[0][0] == 0 and points[-1][0] == WIDTH
    assert "1 to 5,000: 2 at the top" in words


def test_a_notebook_has_the_words_the_curve_and_the_table():
    history = history_of([2.0, 1.0, math.inf], accuracy=0.5)
    history.remarks.append("the loss <b>")
    html = history._repr_html_()
    assert html.index("diverged at epoch 3") < html.index("<img") < html.index("<table>")
    assert "<p>the loss &lt;b&gt;</p>" in html
    assert re.findall("<th>(.*?)</th>", html) == ["epoch", "loss", "accuracy", "seconds"]
    assert re.findall("<td>(.*?)</td>", html)[-4:] == ["3", "inf", "0.5", "0.25"]
    assert history_of([1.0] * 100)._repr_html_().count("<tr>") == 11
    assert "<img" in history_of([2.0, 1.0], [3.0, 2.0])._repr_html_()


def test_a_name_of_a_metric_is_text():
    assert "<td>&lt;" not in history_of([1.0, 2.0], **{"<i>": 1.0})._repr_html_()
    assert "<th>&lt;i&gt;</th>" in history_of([1.0, 2.0], **{"<i>": 1.0})._repr_html_()


def test_words_for_a_terminal():
    assert repr(history_of([2.0])) == "<History of 1 epoch, loss 2>"
    assert repr(history_of([2.0, 2.0 + 1e-9])) == "<History of 2 epochs, loss 2>"
    html = history_of([2.0, 2.0 + 1e-9])._repr_html_()
    assert "2 at the top.</p>" in html and "at the bottom" not in html
    assert repr(history_of([2.0, math.inf])) == (
        "<History of 2 epochs, loss 2 to inf, diverged at epoch 2>"
    )
    assert repr(history_of([2.0], [1.0])[0]) == "<Epoch: loss 2, validation loss 1, seconds 0.25>"
