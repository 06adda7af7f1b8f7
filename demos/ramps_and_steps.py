"""Sums of ReLUs are like Riemann sums.

How can kinks make a curve? Three ReLUs make a bump, and bumps add up to ramps along a curve, as
boxes do in a Riemann sum. Twice as many ramps leave a quarter of the error, if the curve is smooth;
steps, of two steep ReLUs each, leave half. Trained on data, a net finds its own kinks.
"""

from typing import Any

import numpy as np

import microgradx as mx
from demos.plumbing import BLUE, GREEN, GREY, ORANGE, Board

X = np.arange(2**11 + 1) / 2**11
PIECES = 2 ** np.arange(2, 8)
WIDTH, NOISE = 2.0**-12, 0.2  # a step rises between two x


def f(x: Any) -> Any:
    return np.sin(2 * np.pi * x)


def polygon(knots: Any, heights: Any) -> Any:
    """height + Σ bend · relu(x - knot) through all these points, computed by a net, on X."""
    bends = np.diff(np.diff(heights) / np.diff(knots), prepend=0.0)
    net = mx.nn.MLP(1, [len(bends), 1], seed=0)
    net.load_state_dict(
        {
            "layers.0.weight": [[1.0]] * len(bends),
            "layers.0.bias": -knots[:-1],
            "layers.1.weight": [bends],
            "layers.1.bias": heights[:1],
        }
    )
    return net.predict(X[:, None])


def ramps(n: int) -> Any:
    return polygon(np.arange(n + 1) / n, f(np.arange(n + 1) / n))


def steps(n: int) -> Any:
    ends, middles = np.arange(1, n) / n, (np.arange(n) + 0.5) / n
    return polygon(np.sort([0, *ends, *(ends + WIDTH), 1]), np.repeat(f(middles), 2))


def run(board: Board) -> str:
    y, rates, errors = f(X), [], []
    bumps = [polygon(np.arange(i - 1, i + 3) / 8, [0, f(i / 8), 0, 0]) for i in range(1, 8)]
    board.check("7 bumps add up to ramps, to 1e-12", np.allclose(sum(bumps), ramps(8), 0, 1e-12))
    for build, power, limit in (steps, 1, np.pi), (ramps, 2, np.pi**2 / 2):  # |f'|/2, |f''|/8
        errors.append([np.abs(build(n) - y).max() for n in PIECES.tolist()])
        rates.append(np.polyfit(np.log(PIECES[2:]), np.log(errors[-1][2:]), 1)[0])
        last = errors[-1][-1] * PIECES[-1] ** power
        board.check(
            f"error of {build.__name__} n^{rates[-1]:.2f}; n^{power} times it is {last:.3f}"
            f", in the limit {limit:.3f}",
            abs(rates[-1] + power) < 0.02 and abs(last / limit - 1) < 0.01,
        )
    x = np.linspace(0, 1, 100)
    data = f(x) + np.random.default_rng(0).normal(0, NOISE, 100)
    net = mx.nn.MLP(1, [16, 1], seed=0)
    adam = mx.optim.Adam(net.parameters(), lr=0.02)
    mx.fit(net, x[:, None] - 0.5, data, loss="mse", optimizer=adam, epochs=1500, batch_size=None)
    learnt = net.predict(X[:, None] - 0.5)
    off = np.sqrt(np.mean((learnt - y) ** 2))
    w, b, *_ = map(np.ravel, net.state_dict().values())
    kinks = [kink for kink in 0.5 - b / w if 0 < kink < 1]
    board.check(
        f"trained on data of noise {NOISE}, a net of {len(kinks)} kinks is {off:.3f} off (rms)",
        off < NOISE / 2 and len(kinks) > 4,
    )

    def paint(left: Any, middle: Any, right: Any) -> None:
        left.plot(X, y, color=GREY, lw=7, alpha=0.5)
        left.fill(X, np.transpose(bumps), color=BLUE, alpha=0.15)
        left.plot(X, ramps(8), BLUE, X, steps(8), ORANGE)
        left.set(title="8 steps; 8 ramps, the sum of 7 bumps of 3 ReLUs", xlabel="x")
        middle.loglog(PIECES, errors[0], "s-", color=ORANGE, label=f"steps: n^{rates[0]:.2f}")
        middle.loglog(PIECES, errors[1], "o-", color=BLUE, label=f"ramps: n^{rates[1]:.2f}")
        middle.set(title="largest error", xlabel="n, the pieces", xticks=PIECES, xticklabels=PIECES)
        middle.legend()
        right.plot(x, data, ".", X, y, "--", color=GREY)
        right.plot(X, learnt, "-", kinks, np.full(len(kinks), -1.6), "|", color=GREEN)
        right.set(title="trained on 100 points (ticks: its kinks)", xlabel="x")

    board.plot("ramps_and_steps", paint, "Grey: a sine. Blue, orange, green: nets of ReLUs.", 3)
    return f"error of steps n^{rates[0]:.2f}, of ramps n^{rates[1]:.2f}; of a trained net {off:.2f}"
