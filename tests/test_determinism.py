"""Nothing depends on hash seeds: all that the package gives, byte for byte, in fresh processes."""

import os
import subprocess
import sys

DIGEST = """
import hashlib, math, os, random, tempfile
import microgradx as mx
from microgradx import nn
from microgradx.engine import Value, order

def tell(name, text):
    content = text if isinstance(text, bytes) else str(text).encode()
    print(name, hashlib.sha256(content).hexdigest()[:16])

dice = random.Random(3)
leaves = [Value(dice.uniform(-2, 2), f"x{k}") for k in range(4)]
nodes = [*leaves]
for _ in range(60):
    a, b, c = (dice.choice(nodes[-9:]) for _ in range(3))
    nodes.append(dice.choice([
        lambda: a + b, lambda: a * b, lambda: (a * 0.5).tanh(), lambda: a.relu(), lambda: -a,
        lambda: mx.where(a, b, c), lambda: mx.dot([a, b, 1.0], [c, 2.0, a]).sigmoid(),
        lambda: a.detach(), lambda: mx.maximum(a, b), lambda: mx.logsumexp([a, b, c]),
    ])())
output = mx.sum([*nodes[-6:], *leaves])
output.backward()
tell("grads", " ".join(x.grad.hex() for x in order(output)))
tell("dot", mx.draw(output).source)
tell("svg", mx.draw(output, explain=leaves[0]).svg())
tell("why", "".join(str(mx.why(x, output)) for x in leaves))
tell("page", mx.page(output))
box = mx.bounds.Bounds(output, {x: (x.data - 0.1, x.data + 0.1) for x in leaves})
tell("bounds", str(box) + "".join(str(box.gradient(x)) for x in leaves))
tell("gates", "".join(gate.verdict for gate in box.gates.values()))

model = nn.MLP(2, [4, 3, 1], activation="relu", seed=0)
X, y = [[0.0, 1.0], [1.0, 0.5], [0.3, -1.0]], [0, 1, 1]
replay = mx.record(lambda x, t: nn.binary_cross_entropy_with_logits(model(x), t), X[0], 1)
tell("source", replay.source)
tell("replay", repr([replay(X, y), replay.gradient.tolist()]))
history = mx.fit(model, X, y, loss="binary_cross_entropy", epochs=3, seed=5, batch_size=2)
tell("fit", repr(history.loss))
with tempfile.TemporaryDirectory() as folder:
    for suffix in ("npz", "safetensors"):
        tell(suffix, sorted(model.state_dict()))
        tell(suffix, model.load(model.save(os.path.join(folder, "w." + suffix))))
tell("net", mx.draw(model(X[0])).source)
tell("tree", model)
"""


def digest(seed):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": str(seed)}
    run = subprocess.run([sys.executable, "-c", DIGEST], env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_all_that_the_package_gives_is_the_same_under_every_hash_seed(many):
    first = digest(0)
    assert len(first.splitlines()) == 16
    for seed in range(1, many(2, 50)):
        assert digest(seed) == first
