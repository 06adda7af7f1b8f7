"""Can a graph of scalars learn to read? 1,797 digits of 8 × 8 pixels, a net of 8,970 numbers.

`fit` records the graph of one digit and trains its replay. A digit that the net misreads is then a
scalar graph again, and shows through which neurons a single pixel speaks against the right answer.
"""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import microgradx as mx
from demos.plumbing import check, save
from microgradx.engine import Edge, order

EPOCHS, SEED, SHADES = 60, 0, " .:-=+*#%@"


def run(out: Path) -> None:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        print("  left out: the digits are scikit-learn's; pip install 'microgradx[demos]'")
        return
    images, classes = load_digits(return_X_y=True)
    shuffled = np.random.default_rng(SEED).permutation(len(images))
    images, classes = images[shuffled] / 16.0, classes[shuffled]
    fifth = len(images) // 5
    held_out = images[:fifth], classes[:fifth]

    start = perf_counter()
    model = mx.nn.MLP(64, [64, 64, 10], seed=SEED)
    history = mx.fit(model, images[fifth:], classes[fifth:], loss="cross_entropy", epochs=EPOCHS,
                     seed=SEED, validation=held_out)  # fmt: skip
    print(f"  {EPOCHS} epochs of {len(images) - fifth} digits in {perf_counter() - start:.1f} s")
    read = history[-1].metrics["accuracy"]
    check(f"it reads {100 * read:.1f} % of {fifth} digits that it has never seen", read >= 0.97)

    chances = np.array([softmax(scores) for scores in model.predict(images[:fifth])])
    misread = np.flatnonzero(chances.argmax(axis=1) != classes[:fifth])
    unsure = min(misread, key=lambda i: chances[i].max())
    explain(model, images[unsure], int(classes[unsure]), out)


def explain(model: mx.nn.MLP, image: Any, right: int, out: Path) -> None:
    """Show one digit, the pixel whose ink costs most, and how its gradient comes about."""
    pixels = [mx.Value(ink, f"pixel[{i // 8},{i % 8}]") for i, ink in enumerate(image)]
    logits = model(pixels)
    loss = mx.nn.cross_entropy(logits, right)
    loss.label = "loss"
    model.zero_grad()
    loss.backward()
    costs = image * [pixel.grad for pixel in pixels]  # what its ink adds, to first order
    worst = int(costs.argmax())
    pixel = pixels[worst]

    print(f"  One of its mistakes, a {right}. On the right, + is ink that speaks for {right}, "
          f"- against it, ! most:\n")  # fmt: skip
    show(image, costs)
    erased = np.where(np.arange(64) == worst, 0.0, image)
    print(f"\n  It reads {reading(model, image)}.")
    print(f"  Without the ink of {pixel.label}, at !, it reads {reading(model, erased)}.")

    why = mx.why(pixel, loss)
    print(textwrap.indent(str(why), "  "))
    edges = [edge for node in order(loss) for edge in node.edges if edge.input is pixel]
    total = math.fsum(edge.partial * edge.node.grad for edge in edges)
    check(f"what its {len(edges)} edges bring adds up to its gradient",
          math.isclose(total, pixel.grad, rel_tol=1e-9))  # fmt: skip

    save(picture_of(why, edges, logits, right), out, "digits")


def picture_of(why: Any, edges: list[Edge], logits: list[mx.Value], right: int) -> Any:
    """The strongest paths from the explained pixel to the logits that matter, and to the loss."""
    loss, pixel = why.output, why.node
    chances = softmax(np.array([logit.data for logit in logits]))
    said = int(chances.argmax())
    notes = {logit: f"{k}: {chance:.0%}" for k, (logit, chance) in enumerate(zip(logits, chances))}
    shown = {pixel, loss, *loss.inputs, logits[said], logits[right]}
    shown |= strongest(mx.Flow(loss), edges)
    return mx.draw(
        loss,
        explain=why,
        title=f"a {right} is read as {said}: how {pixel.label} speaks against {right},\n"
        "by the two neurons that bring most of its gradient, and not by one that is off",
        note=lambda node: notes.get(node, ""),
        without=set(order(loss)) - shown,
    )


def strongest(flow: mx.Flow, edges: list[Edge]) -> set[mx.Value]:
    """The paths through the two neurons that bring most, and through the largest that is off."""
    relus = {node.inputs[0]: node for node in order(flow.output) if node.op == "relu"}
    on = sorted(edges, key=lambda edge: -abs(edge.partial * edge.node.grad))[:2]
    off = [edge for edge in edges if relus[edge.node].data == 0]
    off = sorted(off, key=lambda edge: -abs(edge.partial * relus[edge.node].grad))[:1]
    paths = [flow.path(relus[edge.node]) for edge in on + off]
    return {edge.node for edge in on + off} | {edge.input for path in paths for edge in path}


def show(image: Any, costs: Any) -> None:
    """A digit in characters, and beside it the sign of what the ink of each pixel costs."""
    for row, cost in zip(image.reshape(8, 8), costs.reshape(8, 8)):
        shades = [2 * SHADES[int(9 * ink)] for ink in row]
        signs = np.select([cost == costs.max(), cost > 0.2, cost < -0.2], ["!", "-", "+"], ".")
        print(f"      {''.join(shades)}      {' '.join(signs)}")


def reading(model: mx.nn.MLP, image: Any) -> str:
    """What the net makes of a digit: the two likeliest classes."""
    chances = softmax(model.predict([image])[0])
    first, second = chances.argsort()[:-3:-1]
    sure, less = 100 * chances[first], 100 * chances[second]
    return f"{first} ({sure:.0f} %), or {second} ({less:.0f} %)"


def softmax(logits: Any) -> Any:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()
