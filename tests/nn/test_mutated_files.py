"""Weight files that were damaged: one error or other numbers, and a model that is whole."""

import random

import pytest

from microgradx import nn
from microgradx.nn import WeightsError


def mutated(dice, content):
    """The bytes with one to four wounds: bits flipped, cut off, doubled, put in, zeroed."""
    data = bytearray(content)
    for _ in range(dice.randrange(1, 5)):
        at, n = dice.randrange(len(data)), dice.randrange(1, 40)
        kind = dice.randrange(6)
        if kind == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del data[at : None if dice.random() < 0.3 else at + n]
        elif kind == 2:
            data[at:at] = data[at : at + n]
        elif kind == 3:
            data[at:at] = dice.randbytes(n)
        elif kind == 4:
            data[at : at + n] = bytes(n)
        else:
            data[at : at + 8] = dice.choice([b"\xff" * 8, b"PK\x03\x04", b'{"a":{}}', b"\x7f" * 8])
        if not data:
            return b""
    return bytes(data)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_damaged_file_is_one_error_or_whole_numbers(many, tmp_path, suffix):
    dice = random.Random(suffix)
    model, other = nn.MLP(2, [3, 1], seed=0), nn.MLP(2, [3, 1], seed=1)
    content = other.save(tmp_path / f"good{suffix}").read_bytes()
    before, path, refused = model.state_dict(), tmp_path / f"bad{suffix}", 0
    for _ in range(many(150, 5_000)):
        path.write_bytes(mutated(dice, content))
        try:
            model.load(path)
        except WeightsError as error:
            refused += 1
            assert str(error).startswith(str(path)) and model.state_dict() == before
        else:
            assert all(type(p.data) is float for p in model.parameters())
            model.load_state_dict(before)
    assert refused > 0
