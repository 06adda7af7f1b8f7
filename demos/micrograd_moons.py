"""Can a net of scalars learn two interleaving moons? micrograd's own demo: 100 points, 337 numbers.

A 2-16-16-1 net of ReLUs, the hinge loss, a pinch of L2, and a step size that falls from 1 to 0.1.
"""

from pathlib import Path

import microgradx as mx
from demos.plumbing import check, moons, progress, save

STEPS = 100


def run(out: Path) -> None:
    points, sides = moons()
    model = mx.nn.MLP(2, [16, 16, 1], seed=1)
    sgd = mx.optim.SGD(model.parameters(), lr=1.0, weight_decay=2e-4)  # the gradient of 1e-4 · w²

    for step in range(STEPS):
        scores = [model(point) for point in points]
        loss = mx.nn.hinge_loss(scores, sides)
        right = sum((score > 0) == (side > 0) for score, side in zip(scores, sides))
        progress(f"  step {step:3d}  loss {loss.data:.4f}  accuracy {right} %", step == STEPS - 1)
        model.zero_grad()
        loss.backward()
        sgd.lr = 1.0 - 0.9 * step / STEPS
        sgd.step()

    right = sum((model(point) > 0) == (side > 0) for point, side in zip(points, sides))
    check(f"after {STEPS} steps, {right} of 100 points are on their side", right == 100)

    score = model([mx.Value(x, name) for x, name in zip(points[0], "xy")])
    model.zero_grad()
    score.backward()
    picture = mx.draw(
        score,
        title="one point of the moons: what its score depends on",
        without=model.parameters(),
        fold_above=40,
    )
    save(picture, out, "micrograd_moons")
