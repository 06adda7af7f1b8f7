"""Nets with faults planted in them, whose truth NumPy knows; and nets that are healthy by training.

`python -m tests.diagnosis.planted_nets 500` plants as many, and prints what was missed or made up;
`… healthy 100` trains as many, and prints those in which something was found.
"""

import math
import sys
from collections import Counter

import numpy as np

import microgradx as mx
from microgradx import nn, optim

SLOPES = {
    "relu": lambda z: (z > 0) * 1.0,
    "tanh": lambda z: 1.0 / np.cosh(np.clip(z, -300, 300)) ** 2,
    "sigmoid": lambda z: 0.25 / np.cosh(np.clip(z, -600, 600) / 2.0) ** 2,
    "gelu": lambda z: _normal(z) + z * np.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi),
}


def _normal(z):
    return np.vectorize(math.erfc)(-z / math.sqrt(2.0)) / 2.0


VALUES = {
    "relu": lambda z: np.maximum(z, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1.0 / (1.0 + np.exp(-np.clip(z, -700, 700))),
    "gelu": lambda z: 0.5 * z * (1.0 + np.vectorize(math.erf)(z / math.sqrt(2.0))),
    None: lambda z: z,
}
CEILINGS = {"tanh": 1.0, "sigmoid": 0.25, "gelu": 1.12890414518516}
USUAL = {"relu": "he", "gelu": "he", "tanh": "glorot", "sigmoid": "glorot"}


class Net:
    """An MLP and its data, and what NumPy knows of them."""

    def __init__(self, rng, activation=None, hidden=None, loss=None):
        self.rng = rng
        self.activation = activation or rng.choice(["relu", "tanh", "gelu", "sigmoid"])
        most = 1 if self.activation == "sigmoid" else 4  # more are a chain, which is a fault
        n_hidden = hidden or int(rng.integers(1, most + 1))
        self.loss = loss or str(rng.choice(["mse", "cross_entropy", "binary_cross_entropy"]))
        width, rows = int(rng.integers(3, 13)), int(rng.integers(80, 300))
        outputs = int(rng.integers(2, 5)) if self.loss == "cross_entropy" else 1
        sizes = [int(rng.integers(8, 33)) for _ in range(n_hidden)]
        self.model = nn.MLP(width, [*sizes, outputs], activation=self.activation,
                            init=USUAL[self.activation], seed=int(rng.integers(10**6)))  # fmt: skip
        self.X = rng.normal(size=(rows, width))
        z = self.X @ rng.normal(size=(width, outputs)) / math.sqrt(width)
        self.y = {"mse": z[:, 0], "cross_entropy": z.argmax(1),
                  "binary_cross_entropy": (z[:, 0] > 0) + 0}[self.loss]  # fmt: skip
        self.output, self.optimizer, self.given = None, None, self.loss
        self.extra = []  # verdicts that are known to be right by construction
        self.bury_the_dead()

    def bury_the_dead(self):
        """Give each ReLU that is off on all rows by chance a bias that turns it on."""
        for k in range(len(self.model.layers) - 1):
            zs, _ = self.forward()
            for j in np.flatnonzero((zs[k] <= 0).mean(axis=0) > 0.9):
                if self.activation == "relu":
                    self.neuron(k, j).bias.data -= float(np.median(zs[k][:, j])) - 0.1

    def bury_the_dead_but(self, gone):
        """The same, with units of the first layer left as they are."""
        kept = [(j, self.neuron(0, j).bias.data) for j in gone]
        self.bury_the_dead()
        for j, bias in kept:
            self.neuron(0, j).bias.data = bias

    def neuron(self, k, j):
        return self.model.layers[k].neurons[int(j)]

    def weights(self, k):
        layer = self.model.layers[k].neurons
        return np.array([[p.data for p in n.weight] for n in layer]), np.array(
            [n.bias.data for n in layer]
        )

    def scale(self, k, factor):
        for n in self.model.layers[k].neurons:
            for p in n.weight:
                p.data *= factor

    @property
    def depth(self):
        return len(self.model.layers) - 1

    def op(self, k):
        return self.activation if k < self.depth else self.output

    def forward(self):
        """The z of every layer, and the outputs."""
        h, zs = self.X, []
        with np.errstate(all="ignore"):
            for k in range(len(self.model.layers)):
                w, b = self.weights(k)
                zs.append(h @ w.T + b)
                h = VALUES[self.op(k)](zs[-1])
        return zs, h

    def dead(self, k):
        if self.op(k) != "relu":
            return set()
        return {int(j) for j in np.flatnonzero((self.forward()[0][k] <= 0).all(axis=0))}

    def saturated(self, k):
        if self.op(k) not in CEILINGS:
            return set()
        slopes = SLOPES[self.op(k)](self.forward()[0][k])
        share = 1.0 if self.op(k) == "gelu" else 0.5  # gelu is flat on one side alone
        shut = (np.abs(slopes) < 0.01 * CEILINGS[self.op(k)]).mean(axis=0) >= share
        return {int(j) for j in np.flatnonzero(shut)}

    def usual(self, k):
        w, _ = self.weights(k)
        glorot = math.sqrt(2.0 / sum(w.shape))
        op = self.op(k) if k < self.depth else None
        return {"sigmoid": 4 * glorot, "relu": math.sqrt(2 / w.shape[1]),
                "gelu": math.sqrt(2 / w.shape[1])}.get(op, glorot)  # fmt: skip

    def ratio(self, k):
        return float(np.sqrt((self.weights(k)[0] ** 2).mean())) / self.usual(k)

    def checkup(self):
        return mx.checkup(self.model, self.X, self.y, loss=self.given, optimizer=self.optimizer)

    # --- whether a finding is true, by NumPy alone ------------------------------------------------

    def is_true(self, f):
        """Whether what a finding says of this net holds."""
        check = getattr(self, "_" + f.verdict.replace(" ", "_"), None)
        return f.verdict in self.extra or (check is not None and bool(check(f)))

    def _layer(self, f):
        return int(f.where.split(".")[1])

    def _dead(self, f):
        k = self._layer(f)
        return {*f.neurons} == self.dead(k)

    def _saturated(self, f):
        return {*f.neurons} == self.saturated(self._layer(f))

    def _small_weights(self, f):
        return self.ratio(self._layer(f)) <= 0.1

    def _large_weights(self, f):
        return self.ratio(self._layer(f)) >= 10.0

    def _zero_weights(self, f):
        return self.ratio(self._layer(f)) == 0.0

    def _copies(self, f):
        k = self._layer(f)
        w, b = self.weights(k)
        out = self.weights(k + 1)[0].T
        rows = [(*w[j], b[j], *out[j]) for j in range(len(w))]
        times = Counter(rows)
        return {*f.neurons} == {j for j, row in enumerate(rows) if times[row] > 1}

    def _sigmoid_chain(self, f):
        return sum(self.op(k) == "sigmoid" for k in range(self.depth + 1)) >= 2

    def _worse_than_a_guess(self, f):
        loss, guess = self.losses()
        even = 2 * math.log(self.forward()[1].shape[1]) if self.loss == "cross_entropy" else (
            2 * math.log(2)
        )  # fmt: skip
        return loss > (10.0 * guess if self.loss == "mse" else max(3.0 * guess, even))

    def losses(self):
        _, p = self.forward()
        if self.loss == "mse":
            return np.mean((p[:, 0] - self.y) ** 2), self.y.var()
        if self.loss == "binary_cross_entropy":
            q = self.y.mean()
            z = p[:, 0]
            loss = np.mean(np.logaddexp(0, z) - self.y * z)
            return loss, -(q * np.log(q) + (1 - q) * np.log(1 - q))
        top = p.max(axis=1)
        log = top + np.log(np.exp(p - top[:, None]).sum(axis=1))
        shares = np.bincount(self.y) / len(self.y)
        shares = shares[shares > 0]
        return np.mean(log - p[np.arange(len(p)), self.y]), -(shares * np.log(shares)).sum()

    def _inputs_out_of_scale(self, f):
        rms = np.sqrt((self.X**2).mean(axis=0))
        return rms.max() > 30 or rms.max() < 1 / 30

    def _inputs_far_from_0(self, f):
        mean = np.abs(self.X.mean(axis=0))
        return (mean > np.maximum(3, 10 * self.X.std(axis=0))).any()

    def _targets_out_of_reach(self, f):
        low, high = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, math.inf)}[self.output]
        return f.rows == ((self.y < low) | (self.y > high)).mean() > 0

    def _targets_out_of_scale(self, f):
        y = self.y.reshape(len(self.y), -1)
        mean, spread = np.abs(y.mean(axis=0)), y.std(axis=0)
        far = (mean > np.maximum(3, 10 * spread)) & (spread > 0)
        return self.loss == "mse" and (far | (np.hypot(mean, spread) > 30)).any()

    def _constant_outputs(self, f):
        _, p = self.forward()
        return (p.std(axis=0) <= 1e-6 * np.maximum(np.abs(p).max(axis=0), 1e-6)).all()

    def _not_finite(self, f):
        return not np.isfinite(self.forward()[1]).all()

    def _vanishing(self, f):
        return self.short(self._layer(f)) < -2.0

    def _exploding(self, f):
        return self.short(self._layer(f)) > 1.3

    def short(self, k):
        """Decades of the path norm at layer k, of outputs that count alike, the mean over rows."""
        zs, _ = self.forward()
        r2 = np.ones_like(zs[-1]) / zs[-1].shape[1]
        for j in range(self.depth, k, -1):
            slope = SLOPES[self.op(j - 1)](zs[j - 1]) if SLOPES[self.op(j - 1)] else 1.0
            r2 = (r2 @ self.weights(j)[0] ** 2) * slope**2
        known = r2[r2 > 0]
        return float(np.mean(0.5 * np.log10(known))) if known.size else -math.inf


# --- the plants ----------------------------------------------------------------------------------
# Each changes a net, and returns what is to be found: a verdict, where, and the neurons or None.


def some(net, k, most=None):
    n = len(net.model.layers[k].neurons)
    size = int(net.rng.integers(1, max(2, (most or n // 2) + 1)))
    return sorted(int(j) for j in net.rng.choice(n, size, replace=False))


def dead_on_the_box(rng):
    net = Net(rng, "relu")
    low, high = net.X.min(axis=0), net.X.max(axis=0)
    gone = some(net, 0)
    for j in gone:
        w = net.weights(0)[0][j]
        net.neuron(0, j).bias.data = -float(np.maximum(w * low, w * high).sum()) - 0.05
    return net, [("dead", "layers.0", net.dead(0))], {"proved": {*gone}}


def dead_on_the_rows(rng):
    net = Net(rng, "relu")
    k = int(rng.integers(0, net.depth))
    gone = some(net, k)
    for j in gone:
        z = net.forward()[0][k][:, j]
        net.neuron(k, j).bias.data -= float(z.max()) + 0.01
    return net, [("dead", f"layers.{k}", net.dead(k))], {"refuted": {*gone}} if k == 0 else {}


def saturated_by_bias(rng):
    net = Net(rng, str(rng.choice(["tanh", "sigmoid"])))
    k = int(rng.integers(0, net.depth))
    for j in some(net, k):
        net.neuron(k, j).bias.data = float(rng.choice([-1, 1])) * 40.0
    return net, [("saturated", f"layers.{k}", net.saturated(k))], {}


def saturated_by_weights(rng):
    net = Net(rng, str(rng.choice(["tanh", "sigmoid"])))
    k = int(rng.integers(0, net.depth))
    for j in some(net, k):
        for p in net.neuron(k, j).weight:
            p.data *= 300.0
    return net, [("saturated", f"layers.{k}", net.saturated(k))], {}


def copied(rng):
    net = Net(rng)
    k = int(rng.integers(0, net.depth))
    one, *others = some(net, k, 4) + [len(net.model.layers[k].neurons) - 1]
    others = [j for j in others if j != one] or [one - 1 if one else 1]
    for j in others:
        for p, q in zip(net.neuron(k, one).parameters(), net.neuron(k, j).parameters()):
            q.data = p.data
        for n in net.model.layers[k + 1].neurons:
            n.weight[j].data = n.weight[one].data
    return net, [("copies", f"layers.{k}", {one, *others})], {}


def too_small(rng):
    net = Net(rng)
    k = int(rng.integers(0, net.depth + 1))
    net.scale(k, 10.0 ** -rng.uniform(1.4, 4))
    return net, [("small weights", f"layers.{k}.weight", None)], {}


def too_large(rng):
    net = Net(rng, "relu")
    k = int(rng.integers(0, net.depth + 1))
    net.scale(k, 10.0 ** rng.uniform(2.0, 4))  # less may cost no decade
    return net, [("large weights", f"layers.{k}.weight", None)], {}


def so_large_that_it_saturates(rng):
    net = Net(rng, str(rng.choice(["tanh", "gelu"])))
    k = int(rng.integers(0, net.depth))
    net.scale(k, 10.0 ** rng.uniform(1.8, 4))
    if shut := net.saturated(k):
        return net, [("saturated", f"layers.{k}", shut)], {}
    return net, [("large weights", f"layers.{k}.weight", None)], {}  # by chance each row is open


def zero(rng):
    net = Net(rng)
    k = int(rng.integers(1, net.depth + 1))
    net.scale(k, 0.0)
    return net, [("zero weights", f"layers.{k}.weight", None)], {}


def out_of_reach(rng):
    net = Net(rng, loss="mse")
    net.output = str(rng.choice(["sigmoid", "tanh", "relu"]))
    [last] = net.model.layers[-1].neurons
    last.activation = getattr(mx.Value, net.output)
    net.y = (net.y - 3.0 if net.output == "relu" else 5.0 * net.y + 3.0).round(6)
    return net, [("targets out of reach", "y", None)], {}


def squashed_logits(rng):
    net = Net(rng, loss="cross_entropy")
    net.output = "sigmoid"
    for n in net.model.layers[-1].neurons:
        n.activation = mx.Value.sigmoid
    net.extra = ["bounded logits"]
    return net, [("bounded logits", "outputs", None)], {}


def scaled_inputs(rng):
    net = Net(rng)
    net.X[:, int(rng.integers(net.X.shape[1]))] *= 10.0 ** rng.uniform(1.8, 5)
    return net, [("inputs out of scale", "X", None)], {}


def far_inputs(rng):
    net = Net(rng)
    net.X[:, int(rng.integers(net.X.shape[1]))] += float(rng.choice([-1, 1])) * rng.uniform(15, 90)
    return net, [("inputs far from 0", "X", None)], {}


def linear_layers(rng):
    net = Net(rng, "tanh", int(rng.integers(1, 4)))
    net.activation = None
    for layer in net.model.layers:
        for n in layer.neurons:
            n.activation = None
    net.extra = ["linear net"]
    return net, [("linear net", "layers.0", None)], {}


def unread(rng):
    net = Net(rng)
    net.model.idle = [mx.Value(1.0), mx.Value(2.0)]
    net.extra = ["unused parameters"]
    return net, [("unused parameters", "idle", None)], {}


def large_step(rng):
    net = Net(rng, "tanh")
    net.optimizer = optim.SGD(net.model.parameters(), lr=1e4)
    net.extra = ["large step"]
    return net, [("large step", "SGD", None)], {}


def small_step(rng):
    net = Net(rng, "tanh")
    net.optimizer = optim.SGD(net.model.parameters(), lr=1e-7)
    net.extra = ["small step"]
    return net, [("small step", "SGD", None)], {}


def not_a_number(rng):
    net = Net(rng)
    k = int(rng.integers(0, net.depth + 1))
    net.neuron(k, 0).weight[0].data = math.nan
    return net, [("not finite", "loss", None)], {}


def sigmoids(rng):
    net = Net(rng, "sigmoid", int(rng.integers(4, 8)))
    return net, [("sigmoid chain", "layers.0", None)], {}


def exploding(rng):
    net = Net(rng, "relu", int(rng.integers(6, 9)))
    for k in range(1, net.depth):
        net.scale(k, 4.0)
    net.bury_the_dead()
    return net, [("exploding", "layers.", None)], {}


PLANTS = [
    so_large_that_it_saturates, dead_on_the_box, dead_on_the_rows, saturated_by_bias,
    saturated_by_weights, copied, too_small, too_large, zero, out_of_reach, squashed_logits,
    scaled_inputs, far_inputs, linear_layers, unread, large_step, small_step, not_a_number,
    sigmoids, exploding,
]  # fmt: skip


def missed(plant, seed):
    """What was missed or made up in a net with this plant; "" if nothing was."""
    net, wanted, proofs = plant(np.random.default_rng([seed, PLANTS.index(plant)]))
    c = net.checkup()
    wrong = []
    for verdict, where, neurons in wanted:
        found = [f for f in c.findings if f.verdict == verdict and f.where.startswith(where)]
        if not found or (neurons is not None and {*found[0].neurons} != neurons):
            wrong.append(f"missed: {verdict} at {where} {neurons}")
    wrong += [f"made up: {f}" for f in c.findings if not net.is_true(f)]
    table = zip(c.neurons["layer"], c.neurons["neuron"], c.neurons["proof"])
    said = {(k, proof) for layer, k, proof in table if layer == "layers.0"}
    for proof, neurons in proofs.items():
        if not all((k, proof) in said for k in neurons):
            wrong.append(f"not {proof}: {neurons}")
    # the plant stands first, but for units that chance, or the plant, has shut
    first = {verdict for verdict, _, _ in wanted}
    if wanted[0][1] != "X":
        first |= {"dead", "saturated"}
    if wanted[0][1] == "idle":  # two parameters of hundreds cost next to nothing
        first.add("worse than a guess")
    if c.findings and not wrong and c.findings[0].verdict not in first:
        wrong.append(f"first: {c.findings[0]}")
    return "" if not wrong else f"{plant.__name__} {seed}:\n" + "\n".join(wrong) + f"\n{c}\n"


# --- nets that are healthy by training -----------------------------------------------------------


def healthy(seed):
    """A net without a plant, and whether its loss falls by 90 % in 400 epochs of Adam."""
    rng = np.random.default_rng([seed, 99])
    net = Net(rng)
    # targets that such a net can learn: those of a net of its kind
    teacher = nn.MLP(net.X.shape[1], [4, 1], activation="tanh", init="glorot", seed=seed)
    t = teacher.predict(net.X)
    t = (t - t.mean()) / t.std()
    outputs = len(net.model.layers[-1].neurons)
    edges = np.quantile(t, np.linspace(0, 1, outputs + 1)[1:-1])
    net.y = {"mse": t, "cross_entropy": np.searchsorted(edges, t),
             "binary_cross_entropy": (t > 0) + 0}[net.loss]  # fmt: skip
    if any(net.op(k) == "relu" and net.dead(k) for k in range(net.depth)):
        return None, None
    c = net.checkup()
    history = mx.fit(net.model, net.X, net.y, loss=net.loss, epochs=400, batch_size=32, seed=0,
                     optimizer=optim.Adam(net.model.parameters(), lr=0.01))  # fmt: skip
    return c, min(history.loss) <= 0.1 * history[0].loss


def main(arguments):
    if arguments[0] == "healthy":
        learnt = found = seed = 0
        while learnt < int(arguments[1]):
            c, learns = healthy(seed)
            seed += 1
            if learns:
                learnt += 1
                if c.findings:
                    found += 1
                    print(seed - 1, c)
        print(f"{seed} drawn, {learnt} learn, something found in {found}")
        return
    wrong = Counter()
    for k in range(int(arguments[0])):
        plant = PLANTS[k % len(PLANTS)]
        if told := missed(plant, k):
            wrong[plant.__name__] += 1
            print(told)
    print(wrong or "all found, nothing made up")


if __name__ == "__main__":
    main(sys.argv[1:])
