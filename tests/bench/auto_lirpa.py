"""The counts of auto_LiRPA on the nets that `python -m tests.diagnosis.tightness FOLDER` wrote.

It needs an older PyTorch: on Python 3.10 `pip install --no-deps torch==1.12.1 "numpy<1.24" appdirs
typing_extensions auto_LiRPA==0.3`, then `python tests/bench/auto_lirpa.py FOLDER`.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from auto_LiRPA import BoundedModule, BoundedTensor
from auto_LiRPA.perturbations import PerturbationLpNorm


class Net(torch.nn.Module):
    def __init__(self, held):
        super().__init__()
        self.around = bool(held["around"])
        n = sum(name.startswith("W") for name in held)
        self.layers = torch.nn.ModuleList()
        for k in range(n):
            W, b = torch.tensor(held[f"W{k}"]), torch.tensor(held[f"b{k}"])
            layer = torch.nn.Linear(W.shape[1], W.shape[0]).double()
            layer.weight.data, layer.bias.data = W, b
            self.layers.append(layer)

    def forward(self, x):
        for k, layer in enumerate(self.layers[:-1]):
            h = torch.relu(layer(x))
            x = x + h if self.around and k else h
        return self.layers[-1](x)


def counts(path, method):
    held = np.load(path)
    net, row = Net(held), torch.tensor(held["row"])[None]
    bounded = BoundedModule(net, row)
    box = BoundedTensor(row, PerturbationLpNorm(norm=np.inf, eps=float(held["radius"])))
    bounded.compute_bounds(x=(box,), method=method)
    off = on = 0
    for node in bounded._modules.values():
        if type(node).__name__ == "BoundRelu":
            z = node.inputs[0]
            off, on = off + int((z.upper <= 0).sum()), on + int((z.lower > 0).sum())
    return off, on


for path in sorted(Path(sys.argv[1]).glob("*.npz")):
    print(path.stem, {method: counts(path, method) for method in ("IBP", "CROWN")})
