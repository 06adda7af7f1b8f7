"""After the claims: a graph of scalars learns to read, and shows where it errs.

Can it? There are 1,797 digits of 8 × 8 pixels, and a net of 8,970 numbers. `fit` records the graph
of one digit and trains its replay. A digit that the net misreads is then a scalar graph again, and
shows through which neurons a single pixel speaks against the right answer.
"""

import math
from typing import Any

import numpy as np

import microgradx as mx
from demos.plumbing import Board
from microgradx.engine import Edge, order

SHADES = " .:-=+*#%@"


def run(board: Board) -> str:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        board.lack("left out, as the digits are scikit-learn's", "demos")
        return "left out: it needs scikit-learn"
    images, classes = load_digits(return_X_y=True)
    shuffled = np.random.default_rng(0).permutation(len(images))
    images, classes = images[shuffled] / 16.0, classes[shuffled]
    fifth = len(images) // 5
    model = mx.nn.MLP(64, [64, 64, 10], seed=0)
    history = mx.fit(
        model,
        images[fifth:],
        classes[fifth:],
        loss="cross_entropy",
        epochs=60,
        seed=0,
        validation=(images[:fifth], classes[:fifth]),
    )
    read = history[-1].metrics["accuracy"]
    board.say(f"60 epochs of {len(images) - fifth} digits in {sum(history.seconds):.1f} s")
    board.check(
        f"it reads {100 * read:.1f} % of {fifth} digits that it has never seen", read >= 0.97
    )

    chances = np.array([softmax(scores) for scores in model.predict(images[:fifth])])
    misread = np.flatnonzero(chances.argmax(axis=1) != classes[:fifth])
    unsure = min(misread, key=lambda i: chances[i].max())
    explain(board, model, images[unsure], int(classes[unsure]))
    return f"{100 * read:.1f} % of {fifth} digits never seen before are read"


def explain(board: Board, model: mx.nn.MLP, image: Any, right: int) -> None:
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
    board.say(
        f"One of its mistakes, a {right}. On the right, + is ink that speaks for {right}, "
        f"- against it, ! most:\n\n{shown(image, costs)}\n\n"
        f"It reads {reading(model, image)}.\n"
        f"Without the ink of {pixel.label}, at !, it reads "
        f"{reading(model, np.where(np.arange(64) == worst, 0.0, image))}."
    )
    why = mx.why(pixel, loss)
    board.say(*why.sentences)
    edges = [edge for node in order(loss) for edge in node.edges if edge.input is pixel]
    total = math.fsum(edge.partial * edge.node.grad for edge in edges)
    board.check(
        f"what its {len(edges)} edges bring adds up to its gradient",
        math.isclose(total, pixel.grad, rel_tol=1e-9),
    )

    chances = softmax(np.array([logit.data for logit in logits]))
    said = int(chances.argmax())
    notes = {logit: f"{k}: {chance:.0%}" for k, (logit, chance) in enumerate(zip(logits, chances))}
    keep = {pixel, loss, *loss.inputs, logits[said], logits[right]}
    keep |= strongest(mx.Flow(loss), edges)
    title = (
        f"a {right} is read as {said}: how {pixel.label} speaks against {right},\n"
        "by the two neurons that bring most of its gradient, and not by one that is off"
    )
    picture = mx.draw(
        loss,
        explain=why,
        title=title,
        note=lambda node: notes.get(node, ""),
        without=set(order(loss)) - keep,
    )
    board.draw("digits", picture, "One pixel of 64, and three of the neurons that read it.")


def strongest(flow: mx.Flow, edges: list[Edge]) -> set[mx.Value]:
    """The paths through the two neurons that bring most, and through the largest that is off."""
    relus = {node.inputs[0]: node for node in order(flow.output) if node.op == "relu"}
    on = sorted(edges, key=lambda edge: -abs(edge.partial * edge.node.grad))[:2]
    off = [edge for edge in edges if relus[edge.node].data == 0]
    off = sorted(off, key=lambda edge: -abs(edge.partial * relus[edge.node].grad))[:1]
    paths = [flow.path(relus[edge.node]) for edge in on + off]
    return {edge.node for edge in on + off} | {edge.input for path in paths for edge in path}


def shown(image: Any, costs: Any) -> str:
    """A digit in characters, and beside it the sign of what the ink of each pixel costs."""
    lines = []
    for row, cost in zip(image.reshape(8, 8), costs.reshape(8, 8)):
        shades = [2 * SHADES[int(9 * ink)] for ink in row]
        signs = np.select([cost == costs.max(), cost > 0.2, cost < -0.2], ["!", "-", "+"], ".")
        lines.append(f"    {''.join(shades)}      {' '.join(signs)}")
    return "\n".join(lines)


def reading(model: mx.nn.MLP, image: Any) -> str:
    """The two classes that the net finds likeliest for a digit."""
    chances = softmax(model.predict([image])[0])
    first, second = chances.argsort()[:-3:-1]
    return f"{first} ({chances[first]:.0%}), or {second} ({chances[second]:.0%})"


def softmax(logits: Any) -> Any:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()
