"""Every picture fits on a screen: in 1600 × 900 pixels its text is 9 pixels high at least."""

import re

import pytest

import microgradx as mx
from tests.pictures.nets import GRAPHS

WIDTH, HEIGHT = 1600, 900  # pixels
LEAST = 9.0  # pixels of text
LARGEST = 4 / 3  # pixels a point: nothing is scaled up beyond its size
LIFT = 5.0  # points: the invisible lines that lift bold text are lower


def text_height(svg):
    """The height of the smallest text of a picture that is fitted into the screen, in pixels."""
    [(width, height)] = re.findall(r'<svg width="([\d.]+)pt" height="([\d.]+)pt"', svg)
    scale = min(WIDTH / float(width), HEIGHT / float(height), LARGEST)
    sizes = [float(size) for size in re.findall(r'font-size="([\d.]+)"', svg)]
    return min(size for size in sizes if size >= LIFT) * scale


@pytest.mark.some(4)
@pytest.mark.parametrize("name", GRAPHS)
def test_text_is_large_enough_on_a_screen(name):
    loss = GRAPHS[name]()
    loss.backward()
    assert text_height(mx.draw(loss).svg()) >= LEAST


def test_every_node_is_too_much_for_a_screen():
    loss = GRAPHS["the lecture's net, ReLU, 60 samples"]()
    loss.backward()
    assert text_height(mx.draw(loss, nodes=True).svg()) < LEAST
