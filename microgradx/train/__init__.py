"""`fit`: a model trained by replays of its loss, and the history of it."""

from microgradx.train.history import Epoch, History
from microgradx.train.loop import fit

__all__ = ["Epoch", "History", "fit"]
