"""Run the demos: `python -m demos` all of them, `python -m demos vanishing` one."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from microgradx.render import RendererNotFound, RenderingFailed

DEMOS = ("lecture_neuron", "micrograd_moons", "vanishing", "dead_relu", "digits")


def main(arguments: list[str] | None = None) -> int:
    """Run the demos that are named, all by default; 0 if each claim held and was drawn."""
    parser = argparse.ArgumentParser(prog="python -m demos", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(DEMOS)}")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name("out"), help="folder for the pictures"
    )
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in DEMOS]
    if unknown:
        parser.error(f"no demo {', '.join(unknown)}; there are {', '.join(DEMOS)}")
    try:
        chosen.out.mkdir(parents=True, exist_ok=True)
        for name in chosen.names or DEMOS:
            demo = importlib.import_module(f"demos.{name}")
            print(f"\n=== {name} ===\n{demo.__doc__.strip()}\n")
            start = time.perf_counter()
            demo.run(chosen.out)
            print(f"  {time.perf_counter() - start:.1f} s")
    except OSError as error:
        print(f"can't write to {chosen.out}: {error}; choose a folder with --out", file=sys.stderr)
        return 2
    except (RendererNotFound, RenderingFailed, AssertionError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
