"""python -m tests.bench: speed and memory beside micrograd, XAD, NumPy, PyTorch and JAX.

Run it from the repository's root after `pip install '.[bench]'`. All peers take turns in one
process; a ratio is the median over the turns, each ratio from one turn. "gc" says whether Python's
collector ran meanwhile, with its default thresholds. The target of a line without a peer is for
its own figure.
"""

import os
import subprocess
import sys

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before anything imports NumPy

from tests.bench import chain, deep, flows, importing, moons, page, pictures, random_graph
from tests.bench.timing import HEADING

if __name__ == "__main__":
    print(HEADING)
    for work in (random_graph, moons, chain, deep, flows, importing, page, pictures):
        for line in work.lines():
            print(line, flush=True)
    # In a process of its own: with PyTorch and JAX loaded the collector has much to look at.
    subprocess.run([sys.executable, "-m", "tests.bench.replayed"], check=True)
