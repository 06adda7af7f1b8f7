"""The cost of `import microgradx` beyond Python's own start, its bytecode compiled as by pip.

It loads neither NumPy nor Graphviz: that is asserted first.
"""

import os
import subprocess
import sys
from statistics import median

from tests.bench.timing import Line, in_turns

HEAVY = """
import sys, microgradx
sys.exit(", ".join({"numpy", "graphviz"} & set(sys.modules)) or None)
"""


def python(code: str) -> None:
    """Run `code` in a new interpreter, which may leave its bytecode for the next one."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def lines() -> list[Line]:
    python(HEAVY)
    with_it, without = in_turns(15, lambda: python("import microgradx"), lambda: python("pass"))
    cost = median(a - b for a, b in zip(with_it, without)) * 1e3
    facts = (f"{median(with_it) * 1e3:.0f} ms", "bare start", f"{median(without) * 1e3:.0f} ms")
    return [Line("import microgradx", "on", *facts, cost, 40, "ms", at_most=True)]
