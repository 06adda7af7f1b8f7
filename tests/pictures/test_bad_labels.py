"""Labels and titles that hold nothing to show, and graphs before backward(): words, no exception.

Over every kind of picture: a graph of ops, nets in boxes and in cells, chains in lines and in bars.
"""

from xml.etree import ElementTree

import pytest

import microgradx as mx
from microgradx.engine import order
from tests.pictures.nets import GRAPHS

KINDS = {
    "ops": "the lecture's neuron",
    "boxes": "a dead ReLU",
    "cells": "6 sigmoid layers of 2, 1",
    "lines": "a chain of 40",
    "bars": "a chain of 200",
}
NOTHING = ["\n", "\u2028", "\r\n\x85", "\x00\x1b[31m", "\ud800", " "]
SWEPT = [("\n", True), ("\u2028", False), ("\ud800\x1b[31m", True)]


def graph(kind, swept=True):
    loss = GRAPHS[KINDS[kind]]()
    if swept:
        loss.backward()
    return loss


def is_shown(text):
    """Whether it can be printed, in one line, with nothing that moves a terminal's cursor."""
    assert text and text.isprintable() and text.encode()


def is_drawn(svg):
    assert len(list(ElementTree.fromstring(svg.encode()).iter("{http://www.w3.org/2000/svg}text")))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", NOTHING, ids=ascii)
def test_a_title_of_nothing(kind, text):
    loss = graph(kind)
    is_drawn(mx.draw(loss, title=text).svg())
    is_drawn(mx.draw(loss, title=text, nodes=True, fold_above=30).svg())
    assert mx.draw(loss, title=text).page().encode()
    assert mx.page(loss, title=text, fold_above=30).encode()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text, swept", SWEPT, ids=ascii)
def test_labels_of_nothing(kind, text, swept):
    loss = graph(kind, swept)
    for node in order(loss):  # a net stays one by its labels
        layered = node.label.startswith("layers")
        node.label = node.label.replace("layers", f"{text}layers") if layered else text
    leaf = order(loss)[-1]
    why = mx.why(leaf, loss)
    for picture in (mx.draw(loss), why.picture(), mx.draw(loss, nodes=True, fold_above=30)):
        is_drawn(picture.svg())
        is_shown(picture.summary)
    for sentence in [*why.sentences, repr(why)]:
        is_shown(sentence)
    assert why.picture().page(str(why)).encode()
    assert mx.page(loss, fold_above=30).encode()


@pytest.mark.parametrize("kind", KINDS)
def test_before_backward_a_picture_says_so(kind):
    picture = mx.draw(graph(kind, swept=False))
    is_drawn(picture.svg())
    assert "call backward() first" in picture.summary
    assert "call backward() first" in picture.svg() or kind == "ops"
    assert "no backward yet" in picture.svg() or kind != "ops"
    every_node = mx.draw(graph(kind, swept=False), nodes=True, fold_above=30)
    assert "no gradients yet" in every_node.summary
