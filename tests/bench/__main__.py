"""python -m tests.bench: speed and memory beside micrograd, XAD, NumPy, PyTorch and JAX.

Run it from the repository's root after `pip install '.[bench]'`. All peers take turns in one
process; a ratio is the median over the turns, each ratio from one turn. "gc" says whether Python's
collector ran meanwhile, with its default thresholds. The target of a line without a peer is for
its own figure.
"""

from tests.bench import replayed  # first: it pins the threads before anything imports NumPy

# isort: split
from tests.bench import chain, flows, importing, moons, random_graph
from tests.bench.timing import HEADING

if __name__ == "__main__":
    print(HEADING)
    for work in (random_graph, moons, chain, flows, importing, replayed):
        for line in work.lines():
            print(line, flush=True)
