"""A multi-layer perceptron as arrays: each definition of the table of findings, by NumPy alone.

Written from the table's own words (`microgradx/diagnosis/findings.py`) and GRADIENTS.md, without
the rules. Nothing here asks the check-up or the engine for a number.
"""

import math

import numpy as np

from microgradx import nn
from microgradx.engine import Value

LARGEST = {"tanh": 1.0, "sigmoid": 0.25, "gelu": 1.1289041451851556}  # slopes, gelu's at √2
REACH = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, math.inf)}
_erfc = np.vectorize(math.erfc, otypes=[float])


def value(op, z):
    if op == "relu":
        return np.maximum(z, 0.0)
    if op == "tanh":
        return np.tanh(z)
    if op == "sigmoid":
        e = np.exp(-np.abs(z))
        return np.where(z >= 0, 1.0, e) / (1.0 + e)
    if op == "gelu":
        return z * _erfc(-z / math.sqrt(2.0)) / 2.0
    if op == "softmax":
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    return z


def slope(op, z):
    if op == "relu":
        return (z > 0) * 1.0
    if op == "tanh":
        e = np.exp(-2.0 * np.abs(z))
        return 4.0 * e / (1.0 + e) ** 2
    if op == "sigmoid":
        e = np.exp(-np.abs(z))
        return e / (1.0 + e) ** 2
    if op == "gelu":
        normal = np.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)
        return _erfc(-z / math.sqrt(2.0)) / 2.0 + z * normal
    return np.ones_like(z)


class Softmaxed(nn.MLP):
    def __call__(self, xs):
        es = [z.exp() for z in super().__call__(xs)]
        total = sum(es[1:], es[0])
        return [e / total for e in es]


class Arrays:
    """Weights (out, in), biases and an op for each layer; rows, targets and a loss."""

    def __init__(self, weights, biases, ops, X, y, loss):
        self.W, self.b, self.ops = weights, biases, ops
        self.X, self.y, self.loss = X, y, loss
        self.idle, self.lr = False, None

    @property
    def depth(self):
        """How many layers are hidden."""
        return len(self.W) - 1

    def width(self, k):
        return len(self.b[k])

    def model(self):
        kind = Softmaxed if self.ops[-1] == "softmax" else nn.MLP
        model = kind(self.X.shape[1], [len(b) for b in self.b], activation=None, seed=0)
        for layer, w, b, op in zip(model.layers, self.W, self.b, self.ops):
            for neuron, row, bias in zip(layer.neurons, w.tolist(), b.tolist()):
                neuron.bias.data = bias
                if op not in (None, "softmax"):
                    neuron.activation = getattr(Value, op)
                for p, number in zip(neuron.weight, row):
                    p.data = number
        if self.idle:
            model.idle = [Value(1.0), Value(-2.0)]
        return model

    # --- forward and backward --------------------------------------------------------------------

    def forward(self):
        """The z of each layer, and the outputs; arrays of (rows, units)."""
        h, zs = self.X, []
        with np.errstate(all="ignore"):
            for w, b, op in zip(self.W, self.b, self.ops):
                zs.append(h @ w.T + b)
                h = value(op, zs[-1])
        return zs, h

    def inputs_of(self, k):
        return self.X if k == 0 else value(self.ops[k - 1], self.forward()[0][k - 1])

    @np.errstate(all="ignore")
    def losses(self):
        """The loss of each row."""
        p = self.forward()[1]
        t = self.y if self.y.ndim == 2 or self.loss == "cross_entropy" else self.y[:, None]
        if self.loss == "cross_entropy":
            top = p.max(axis=1)
            total = top + np.log(np.exp(p - top[:, None]).sum(axis=1))
            return total - p[np.arange(len(p)), self.y]
        each = {
            "mse": lambda: (p - t) ** 2,
            "binary_cross_entropy": lambda: np.logaddexp(0.0, p) - t * p,
            "hinge": lambda: np.maximum(1.0 - t * p, 0.0),
        }[self.loss]()
        return each.mean(axis=1)

    def slope_of_loss(self):
        """∂(loss of a row)/∂(its outputs)"""
        p = self.forward()[1]
        if self.loss == "cross_entropy":
            return value("softmax", p) - np.eye(p.shape[1])[self.y]
        t = self.y if self.y.ndim == 2 else self.y[:, None]
        each = {
            "mse": lambda: 2.0 * (p - t),
            "binary_cross_entropy": lambda: value("sigmoid", p) - t,
            "hinge": lambda: -t * (1.0 - t * p > 0),
        }[self.loss]()
        return each / p.shape[1]

    def backward(self):
        """∂(loss of a row)/∂z for each layer."""
        zs, p = self.forward()
        g = self.slope_of_loss()
        if self.ops[-1] == "softmax":
            g = p * (g - (g * p).sum(axis=1, keepdims=True))
        found = [g * slope(self.ops[-1], zs[-1])]
        for k in range(self.depth - 1, -1, -1):
            found.insert(0, (found[0] @ self.W[k + 1]) * slope(self.ops[k], zs[k]))
        return found

    def reached(self):
        """Whether a path without a zero factor leads from each z to the loss; by layer."""
        zs, _ = self.forward()
        open_ = [np.ones_like(z, bool) if op != "relu" else z > 0 for op, z in zip(self.ops, zs)]
        found = [(self.slope_of_loss() != 0) & open_[-1]]
        if self.ops[-1] == "softmax":
            found = [found[0].any(axis=1, keepdims=True) & open_[-1]]
        for k in range(self.depth - 1, -1, -1):
            found.insert(0, ((found[0] * 1.0) @ (self.W[k + 1] != 0) > 0) & open_[k])
        return found

    def stepped(self, lr):
        """The net after one step of SGD on all rows."""
        n, zs = len(self.X), self.forward()[0]
        hs = [self.X, *(value(op, z) for op, z in zip(self.ops, zs[:-1]))]
        pairs = [
            (w - lr * (g.T @ h) / n, b - lr * g.mean(axis=0))
            for w, b, g, h in zip(self.W, self.b, self.backward(), hs)
        ]
        return Arrays([w for w, _ in pairs], [b for _, b in pairs], self.ops, self.X, self.y,
                      self.loss)  # fmt: skip

    def not_finite(self):
        """Whether a loss, or a gradient of a parameter, isn't finite in some row."""
        with np.errstate(all="ignore"):
            gs = self.backward()
            numbers = [self.losses(), *gs, *(g.T @ self.inputs_of(k) for k, g in enumerate(gs))]
        return not all(np.isfinite(x).all() for x in numbers)

    # --- units -----------------------------------------------------------------------------------

    def dead(self, k):
        if self.ops[k] != "relu":
            return set()
        return {int(j) for j in np.flatnonzero((self.forward()[0][k] <= 0).all(axis=0))}

    def saturated(self, k, share=0.01):
        """The units that are, and those that are by one of the two median rows, those among them.

        The median of an even number of rows lies between two, and both are right."""
        if self.ops[k] not in LARGEST:
            return set(), set()
        slopes = np.abs(slope(self.ops[k], self.forward()[0][k]))
        shut = (slopes < share * LARGEST[self.ops[k]]).mean(axis=0)
        if self.ops[k] == "gelu":  # flat on one side alone
            return ({*np.flatnonzero(shut == 1.0).tolist()},) * 2
        return {*np.flatnonzero(shut > 0.5).tolist()}, {*np.flatnonzero(shut >= 0.5).tolist()}

    def worst(self, k, low, high):
        """The largest z of each unit of the first layer over a box."""
        assert k == 0
        return self.b[0] + np.maximum(self.W[0] * low, self.W[0] * high).sum(axis=1)

    def box(self):
        return self.X.min(axis=0), self.X.max(axis=0)

    def locked(self, k):
        """Whether a dead unit of layer k depends on no parameter that has a gradient, or gets one
        as zero weights move."""
        after, reached = self, []
        for _ in range(len(self.W) + 1):
            reached += after.reached()[:k]
            after = after.stepped(1e-6)
        return not any(layer.any() for layer in reached)

    def copies(self, k):
        into = np.c_[self.W[k], self.b[k]]
        out = self.W[k + 1].T if k < self.depth else np.eye(self.width(k))
        rows = [tuple(row) for row in np.c_[into, out].tolist()]
        return {j for j, row in enumerate(rows) if rows.count(row) > 1}

    def live_copies(self, k):
        """Copies of a dead unit are dead: they are found as that, and none has a gradient."""
        return self.copies(k) - self.dead(k)

    # --- layers ----------------------------------------------------------------------------------

    def usual(self, k):
        """The scale of the initialiser that goes with the op: He's, or Glorot's."""
        out, into = self.W[k].shape
        if self.ops[k] in ("relu", "gelu"):
            return math.sqrt(2.0 / into)
        return math.sqrt(2.0 / (into + out)) * (4.0 if self.ops[k] == "sigmoid" else 1.0)

    def ratio(self, k):
        return float(np.sqrt((self.W[k] ** 2).mean())) / self.usual(k)

    def short(self, k):
        """The mean decades of the path norm from the z of layer k to the outputs, each counting 1.

        Where no path leads on, a node isn't counted; -inf where none does."""
        zs, p = self.forward()
        r2 = slope(self.ops[-1], zs[-1]) ** 2
        if self.ops[-1] == "softmax":
            r2 = ((np.eye(p.shape[1]) - p[:, :, None]) ** 2 * p[:, None, :] ** 2).sum(axis=1)
        with np.errstate(under="ignore"):
            for j in range(self.depth, k, -1):
                r2 = (r2 @ self.W[j] ** 2) * slope(self.ops[j - 1], zs[j - 1]) ** 2
        known = r2[r2 > 0]
        return float(np.log10(known).mean()) / 2.0 if known.size else -math.inf

    # --- data ------------------------------------------------------------------------------------

    def guess(self):
        """The loss of the best constant outputs, and of outputs without an opinion (or None)."""
        if self.loss == "mse":
            return float(self.y.var(axis=0).mean()), None
        if self.loss == "hinge":
            p = float((self.y > 0).mean())
            return 2.0 * min(p, 1.0 - p), 1.0
        labels = self.y.astype(int).ravel()
        k = self.width(-1) if self.loss == "cross_entropy" else 2
        shares = np.bincount(labels, minlength=k) / len(labels)
        shares = shares[shares > 0]
        return float(-(shares * np.log(shares)).sum()), math.log(k)

    def worse_than_a_guess(self, slack=1.0):
        loss, (guess, even) = self.losses().mean(), self.guess()
        if self.loss == "mse":
            return loss * slack > 10.0 * guess
        return loss * slack > max(3.0 * guess, 2.0 * even)

    def out_of_scale(self):
        rms = np.sqrt((self.X**2).mean(axis=0))
        return {int(j) for j in np.flatnonzero(rms > 30)} if (rms >= 1 / 30).any() else {-1}

    def far(self, table):
        """Columns that are far from 0; one that is constant is a second bias, and not asked."""
        mean, spread = np.abs(table.mean(axis=0)), table.std(axis=0)
        far = (mean > 3) & (mean > 10 * spread) & (np.ptp(table, axis=0) > 0)
        return {int(j) for j in np.flatnonzero(far)}

    def beyond(self):
        """Which targets the outputs' op can't give."""
        low, high = REACH.get(self.ops[-1], (-math.inf, math.inf))
        return (self.y < low) | (self.y > high)

    def constant(self):
        p = self.forward()[1]
        size = np.abs(p).max(axis=0)
        return bool((p.std(axis=0) < 1e-6 * np.maximum(size, 1e-300)).any() or not size.all())

    def linear_at(self):
        return {k for k in range(self.depth) if self.ops[k] is None}

    def linear_fit(self):
        """Which share of the targets' variance the best linear fit leaves."""
        A = np.c_[self.X, np.ones(len(self.X))]
        t = np.eye(self.width(-1))[self.y] if self.loss == "cross_entropy" else self.y
        t = t.reshape(len(self.X), -1).astype(float)
        rest = t - A @ np.linalg.lstsq(A, t, rcond=None)[0]
        return float((rest**2).sum() / ((t - t.mean(axis=0)) ** 2).sum())

    # --- steps -----------------------------------------------------------------------------------

    def step_is_large(self):
        after = self.stepped(self.lr)
        layers = range(len(self.W))
        return bool(
            not after.losses().mean() <= self.losses().mean()
            or any(after.dead(k) - self.dead(k) for k in layers)
            or any(after.saturated(k)[1] - self.saturated(k)[0] for k in layers)
        )

    def step_is_small(self):
        along = [self.stepped(self.lr * f).losses().mean() for f in (0, 1, 3, 10, 30, 100)]
        return all(b < a for a, b in zip(along, along[1:]))
