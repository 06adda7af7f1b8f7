"""A graph of single numbers, recorded once and replayed as array code for whole batches.

It answers: which matrix products and array statements is this graph of scalars, and what are its
values and gradients for a batch? `Replay.source` shows the statements; `README.md` beside this file
draws the passes that find them.
"""

from microgradx.replay.flows import Flows
from microgradx.replay.program import Replay
from microgradx.replay.recording import lift, record
from microgradx.replay.sums import Nodes, Sums
from microgradx.replay.totals import Totals
from microgradx.replay.tracing import FrozenBranch
from microgradx.replay.wide import Wide

__all__ = [
    "record", "lift", "Replay", "FrozenBranch", "Sums", "Flows", "Nodes", "Totals", "Wide",
]  # fmt: skip
