"""A graph of single numbers, recorded once and replayed as array code for whole batches."""

from microgradx.replay.recording import FrozenBranch, lift, record
from microgradx.replay.replay import Replay

__all__ = ["record", "lift", "Replay", "FrozenBranch"]
