"""`fit`: a model trained by replays of its loss, its history, and a watch of its units."""

from microgradx.train.history import Epoch, History
from microgradx.train.loop import fit
from microgradx.train.watch import Event, Watch

__all__ = ["Epoch", "Event", "History", "Watch", "fit"]
