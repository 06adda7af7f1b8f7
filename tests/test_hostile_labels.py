"""Hostile labels through all that shows a graph: SVG, page, terminal and words stay whole."""

import random
import re
from xml.etree import ElementTree

import pytest

import microgradx as mx
from microgradx import nn
from microgradx.engine import Value, order
from microgradx.step import words
from microgradx.step.terminal import colour, plain, screen
from microgradx.step.walk import Stepper

PIECES = [
    "<script>alert(1)</script>", "</script>", "<!--", "-->", "]]>", "<![CDATA[", "&amp;", "&#0;",
    "&", "<", ">", '"', "'", "\\", "\\N", "\\l", "`${1}`", "{{ops}}", "{", "}", "|", "%s",
    "%", "\n", "\r", "\t", "\x00", "\x07", "\x1b[2J", "\x1b]0;x\x07", "\x7f", "\x85", "\x9b31m",
    "\u2028",
    "\u2029", "\u200b", "\u200f", "\u202e", "\u2066", "\ufeff", "\ufffe", "\ud800", "\U0001f600",
    "é", "e\u0301", "文", " ", "", "a", "w1", "layers.0.weight[0,0]", "layers.0[1]", "[", "]", ".",
    "javascript:", "onload=", " = 5: healthy", "A" * 200, "∂", "×", "\u00ad", "://", "=",
]  # fmt: skip
OURS = re.compile(r"\x1b\[[0-9;]*m")  # the styles that a screen is painted in


def some_label(dice):
    if dice.random() < 0.2:
        return "".join(chr(dice.randrange(0x3000)) for _ in range(dice.randrange(12)))
    return "".join(dice.choices(PIECES, k=dice.randrange(1, 5)))


def some_graph(dice):
    """A graph of ops, or a net, whose every node has a hostile label."""
    x, y = Value(0.5), Value(-2.0)
    loss = (x * y + 1.0).tanh() * mx.where(y, x.log(), y.relu() + x) + x.detach()
    if dice.random() < 0.3:
        loss = nn.MLP(2, [2, 1], seed=0)([x, y]) ** 2
    for node in order(loss):
        if dice.random() < 0.8:
            node.label = some_label(dice)
    if dice.random() < 0.8:
        loss.backward()
    return loss, order(loss)[-1]


def is_one_clean_line(text):
    return text.isprintable() and text.encode() is not None  # which a surrogate alone refuses


def check_words(loss, leaf):
    why = mx.why(leaf, loss)
    for text in [*why.sentences, repr(why), repr(mx.why(loss, leaf)), repr(loss), repr(leaf)]:
        assert is_one_clean_line(text), ascii(text)
    assert all(map(is_one_clean_line, str(why).split("\n")))
    for line in words.sweep(loss, 80):
        assert is_one_clean_line(line), ascii(line)


def check_terminal(loss):
    stepper = Stepper(loss)
    for _ in range(6):
        for paint in (plain, colour):
            for line in screen(stepper, 80, 24, paint).split("\n"):
                assert is_one_clean_line(OURS.sub("", line)), ascii(line)
        stepper.next()


def check_svg(text):
    root = ElementTree.fromstring(text.encode())
    for element in root.iter():
        name = element.tag.rpartition("}")[2]
        assert name in {"svg", "g", "title", "polygon", "path", "text", "ellipse", "polyline", "a",
                        "tspan", "rect", "line", "defs", "style", "linearGradient", "stop",
                        "clipPath", "use"}, name  # fmt: skip
        assert not [key for key in element.attrib if key.lower().startswith("on")]
        assert not any("javascript:" in value.lower() for key, value in element.attrib.items()
                       if key.rpartition("}")[2] == "href")  # fmt: skip


TAGS = re.compile(r"<(/?script|iframe|img|object|embed|link|meta|base|form)", re.I)


def tags(html):
    return sorted(map(str.lower, TAGS.findall(html)))


def test_no_label_leaves_its_place(many):
    dice = random.Random(16)
    own = tags(mx.page(Value(0.5, "x") * Value(-2.0, "y")))
    assert own
    for _ in range(many(12, 5_000)):
        loss, leaf = some_graph(dice)
        check_words(loss, leaf)
        check_terminal(loss)
        check_svg(mx.draw(loss, title=some_label(dice)).svg())
        check_svg(mx.draw(loss, nodes=True, explain=leaf).svg())
        assert tags(mx.page(loss, title=some_label(dice))) == own


@pytest.mark.parametrize("text", PIECES, ids=ascii)
def test_each_piece_alone_as_a_label(text):
    x = Value(0.5, text)
    loss = x * Value(-2.0, text) + x
    loss.label = text
    loss.backward()
    check_words(loss, x)
    check_terminal(loss)
    check_svg(mx.draw(loss, title=text).svg())
