"""Makes the .onnx files of the tests from PyTorch, with rows, outputs and gradients beside them.

python -m tests.interop.onnx_files
"""

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "files"
NAMES = (
    "MLP", "residual", "RNN", "transformer", "convolution", "small LeNet", "nn.RNN", "nn.LSTM",
    "nn.LSTM of 2, both ways", "nn.GRU", "attention", "signals",
)  # fmt: skip


def path_of(name):
    return FOLDER / f"{name.replace(',', '').replace(' ', '_')}.onnx"


def make(name):
    """Writes the file of one net, and what PyTorch makes of its rows."""
    import onnx
    import torch

    from tests.interop import torch_nets

    net, X = torch_nets.build(name)
    net = net.double().eval()
    path = path_of(name)
    torch.onnx.export(
        net, torch.as_tensor(X[:1]), str(path), dynamo=False, opset_version=20,
        input_names=["x"], output_names=["y"],
    )  # fmt: skip
    model = onnx.load(str(path))
    model.doc_string, model.graph.name = "", type(net).__name__
    for node in model.graph.node:
        node.doc_string = ""
    onnx.save(model, str(path))
    x = torch.as_tensor(X).requires_grad_(True)
    y = net(x)
    seeds = np.random.default_rng(7).normal(size=tuple(y.shape))
    (y * torch.as_tensor(seeds)).sum().backward()
    held = {t.name for t in model.graph.initializer}
    same = {f"grad:{n}": p.grad.numpy() for n, p in net.named_parameters() if n in held}
    np.savez_compressed(
        path.with_suffix(".npz"), X=X, y=y.detach().numpy(), seeds=seeds, x_grad=x.grad.numpy(),
        **same,
    )  # fmt: skip
    for file in (path, path.with_suffix(".npz")):
        assert file.stat().st_size < 20_000, (file, file.stat().st_size)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in NAMES:
        make(name)
