"""Of a small ReLU net of two inputs, every region where it is linear, in exact fractions.

A layer cuts each polygon of the box along the lines z = 0 of its neurons. On what is left all is
linear, so that an end of any z is at a corner, and a gradient is one number a region.
"""

from fractions import Fraction
from typing import NamedTuple

from microgradx import nn


class Region(NamedTuple):
    """corners: of a polygon; rows: by number in the last layer, the factors of x, y and 1."""

    corners: list
    rows: list


def value(row, corner):
    return row[0] * corner[0] + row[1] * corner[1] + row[2]


def side(corners, row, sign):
    """The part of a polygon where sign · z ≥ 0."""
    found = []
    for a, b in zip(corners, corners[1:] + corners[:1]):
        za, zb = sign * value(row, a), sign * value(row, b)
        if za >= 0:
            found.append(a)
        if za * zb < 0:
            t = za / (za - zb)
            found.append(tuple(p + t * (q - p) for p, q in zip(a, b)))
    return found


def has_area(corners):
    pairs = zip(corners, corners[1:] + corners[:1])
    return sum(a[0] * b[1] - a[1] * b[0] for a, b in pairs) != 0


def linear(neuron, rows):
    """The z of a neuron, as a row, from those of the layer before."""
    weights = [Fraction(w.data) for w in neuron.weight]
    found = [sum(w * row[k] for w, row in zip(weights, rows)) for k in range(3)]
    found[2] += Fraction(neuron.bias.data)
    return found


def enumerated(model: nn.MLP, low, high):
    """By layer and neuron the least and the largest z; the regions of the outputs."""
    (a, b), (c, d) = ([Fraction(float(x)) for x in ends] for ends in zip(low, high))
    one, none = Fraction(1), Fraction(0)
    regions = [Region([(a, c), (b, c), (b, d), (a, d)], [[one, none, none], [none, one, none]])]
    layers = []
    for layer in model.layers:
        own = [(corners, [linear(neuron, rows) for neuron in layer.neurons])
               for corners, rows in regions]  # fmt: skip
        at = [[value(zs[k], x) for corners, zs in own for x in corners]
              for k in range(len(layer.neurons))]  # fmt: skip
        layers.append([(min(xs), max(xs)) for xs in at])
        if layer is model.layers[-1]:
            return layers, [Region(*region) for region in own]
        regions = []
        for corners, zs in own:
            parts = [(corners, [])]
            for z in zs:
                parts = [
                    (piece, [*rows, z if sign > 0 else [none] * 3])
                    for polygon, rows in parts
                    for sign in (1, -1)
                    if has_area(piece := side(polygon, z, sign))
                ]
            regions += [Region(*part) for part in parts]
    return layers, regions
