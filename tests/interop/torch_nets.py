"""PyTorch nets that the tests adopt, each with rows of data for it."""

import math

import pytest

torch = pytest.importorskip("torch")  # here too, as pytest looks for doctests in this file

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.block = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Linear(8, 8))
        self.last = nn.Linear(8, 3)
        with torch.no_grad():
            self.norm.running_mean.uniform_(-1, 1)
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        h = F.relu(self.norm(self.first(x)))
        h = h + self.block(h)
        return self.last(h)


class Loop(nn.Module):
    """A recurrent net that is written by hand, over any length."""

    def __init__(self):
        super().__init__()
        self.cell, self.read = nn.Linear(3 + 4, 4), nn.Linear(4, 2)

    def forward(self, x):
        h = torch.zeros(x.size(0), 4, dtype=x.dtype, device=x.device)
        for t in range(x.shape[1]):
            h = torch.tanh(self.cell(torch.cat([x[:, t], h], dim=1)))
        return self.read(h)


class Block(nn.Module):
    """A transformer block with its attention written out, and a causal mask in a buffer."""

    def __init__(self, width=6, heads=2, length=4):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 8), nn.Linear(8, width)
        self.place = nn.Parameter(0.1 * torch.randn(length, width))
        self.register_buffer("mask", torch.tril(torch.ones(length, length)))
        for norm in (self.norm1, self.norm2):  # as an exporter makes one of two that are equal
            for p in norm.parameters():
                nn.init.uniform_(p, 0.5, 1.5)

    def forward(self, x):
        x = x + self.place[: x.shape[1]]
        n, t, w = x.shape
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        q, k, v = (a.view(n, t, self.heads, -1).transpose(1, 2) for a in (q, k, v))
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
        scores = scores.masked_fill(self.mask[:t, :t] == 0, float("-inf"))
        heads = F.softmax(scores, dim=-1) @ v
        x = x + self.out(heads.transpose(1, 2).contiguous().view(n, t, w))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return x.mean(dim=1)


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, stride=2)
        self.norm, self.read = nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.relu(self.norm(self.conv2(x)))
        return self.read(F.adaptive_avg_pool2d(x, 1).flatten(1))


class LeNet(nn.Module):
    """LeCun's net on pixels × pixels, with so many channels and neurons."""

    def __init__(self, pixels=28, channels=(6, 16), widths=(120, 84, 10)):
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels[0], 5, padding=2)
        self.conv2 = nn.Conv2d(*channels, 5)
        left = channels[1] * ((pixels // 2 - 4) // 2) ** 2
        self.fc1, self.fc2 = nn.Linear(left, widths[0]), nn.Linear(widths[0], widths[1])
        self.fc3 = nn.Linear(widths[1], widths[2])

    def forward(self, x):
        x = F.avg_pool2d(torch.sigmoid(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class Last(nn.Module):
    """The last step of a recurrent layer, read."""

    def __init__(self, layer, width):
        super().__init__()
        self.rnn, self.read = layer, nn.Linear(width, 2)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.read(out[:, -1])


class Attention(nn.Module):
    def __init__(self, **named):
        super().__init__()
        self.attn = nn.MultiheadAttention(6, 2, batch_first=True, **named)

    def forward(self, x):
        y, _ = self.attn(x, x, x, need_weights=False)
        return y.mean(1)


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.gru, self.plain = nn.LSTMCell(3, 4), nn.GRUCell(4, 4), nn.RNNCell(4, 3)

    def forward(self, x):
        h = c = g = torch.zeros(len(x), 4).to(x)
        for t in range(x.shape[1]):
            h, c = self.lstm(x[:, t], (h, c))
            g = self.gru(h, g)
        return self.plain(g)


class Words(nn.Module):
    """Positions by a constant index, words by one of the sample."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(7, 3), nn.Embedding(5, 3)
        self.read = nn.Linear(3, 2)

    def forward(self, x):
        x = self.words(x) + self.places(torch.arange(x.shape[1]))
        return self.read(torch.tanh(x)).mean(1)


class Arithmetic(nn.Module):
    """Parameters of its own, and many of PyTorch's functions."""

    def __init__(self):
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.randn(()))
        self.tied = nn.Linear(6, 4)
        self.tied.weight = self.weight
        self.p = nn.PReLU(4)

    def forward(self, x):
        a = torch.einsum("ni,oi->no", x, self.weight.exp() / 3) * self.scale + self.tied(x)
        b = self.p(a).clamp(-2, 2) + torch.where(a > 0, a, a * 0.1) - a.abs() / 2
        c = torch.stack([b, F.silu(a), F.softplus(a / 4), F.leaky_relu(a, 0.2)], 1)
        c = (
            c.var(1)
            + c.std(dim=-1)
            + c.amax(dim=1)
            + c.logsumexp(2)
            + (1 - c).pow(2).sum((1,)).sqrt()
        )
        d = F.log_softmax(c, dim=1) + c.max(dim=1, keepdim=True)[0] + torch.maximum(a, b)
        d += F.elu(a) * F.silu(b)
        return d[:, [0, 2]] + d.narrow(1, 1, 2).flip(1) + (2.0 / (9 + d.square()))[:, 1:3].t().T


class Signals(nn.Module):
    """One axis: grouped, dilated and padded convolutions, pooling that overlaps."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv1d(2, 4, 3, padding="same", groups=2)
        self.two = nn.Conv1d(4, 4, 2, dilation=2, bias=False)
        self.norm = nn.InstanceNorm1d(4, affine=True)

    def forward(self, x):
        x = F.max_pool1d(self.one(x).tanh(), 3, 2, 1)
        x = F.avg_pool1d(self.norm(self.two(x)), 2, 1, 1)
        return F.adaptive_max_pool1d(x, 2).flatten(1)


def rows(*shape, seed=3):
    """Eight rows of multiples of 1/64, which are short in a file."""
    drawn = torch.randn(8, *shape, generator=torch.Generator().manual_seed(seed))
    return (drawn * 64).round().double().numpy() / 64


SIX = {
    "MLP": (lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.ReLU(),
                                  nn.Dropout(), nn.Linear(4, 3)), (6,)),
    "residual": (Residual, (6,)),
    "RNN": (Loop, (5, 3)),
    "transformer": (Block, (4, 6)),
    "convolution": (Convolution, (1, 8, 8)),
    "LeNet": (LeNet, (1, 28, 28)),
}  # fmt: skip
OTHERS = {
    "nn.RNN": (lambda: Last(nn.RNN(3, 4, batch_first=True), 4), (5, 3)),
    "nn.RNN relu": (lambda: Last(nn.RNN(3, 4, 2, "relu", batch_first=True), 4), (4, 3)),
    "nn.LSTM": (lambda: Last(nn.LSTM(3, 4, batch_first=True), 4), (5, 3)),
    "nn.LSTM of 2, both ways": (
        lambda: Last(nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True), 8), (3, 3)),
    "nn.GRU": (lambda: Last(nn.GRU(3, 4, batch_first=True), 4), (5, 3)),
    "nn.GRU without bias": (lambda: Last(nn.GRU(3, 4, bias=False, batch_first=True), 4), (3, 3)),
    "cells": (Cells, (3, 3)),
    "attention": (Attention, (4, 6)),
    "attention, separate": (lambda: Attention(kdim=6, vdim=6, bias=False), (4, 6)),
    "encoder layer": (lambda: nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), (3, 6)),
    "arithmetic": (Arithmetic, (6,)),
    "small LeNet": (lambda: LeNet(14, (2, 3), (8, 6, 4)), (1, 14, 14)),
    "signals": (Signals, (2, 9)),
}  # fmt: skip


def build(name, seed=0):
    """A net of this name, and eight rows for it."""
    torch.manual_seed(seed)
    make, shape = {**SIX, **OTHERS}[name]
    return make(), rows(*shape)
