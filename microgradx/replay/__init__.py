"""A graph of single numbers, recorded once and replayed as array code for whole batches."""

from microgradx.replay.program import Replay
from microgradx.replay.recording import FrozenBranch, lift, record

__all__ = ["record", "lift", "Replay", "FrozenBranch"]
