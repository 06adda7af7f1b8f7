"""Run the demos: `python -m demos` all of them, `python -m demos vanishing` or `5` one.

All together they leave a table of the claims with their measured numbers, and a page that leads
from one to the next. One by one they say all that they find.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import signal
import sys
import textwrap
import time
from pathlib import Path
from types import ModuleType

from demos import index
from demos.plumbing import Board
from microgradx.render import RendererNotFound, RenderingFailed

CLAIMS = (
    "linear_stack", "relu_is_not_linear", "ramps_and_steps", "bent_lines", "vanishing",
    "no_culprit", "saturation", "exploding", "dead_relu", "tanh_beside_sigmoid", "batch_norm",
    "one_slope",
)
DEMOS = ("lecture_neuron", *CLAIMS, "micrograd_moons", "digits")


def main(arguments: list[str] | None = None) -> int:
    """Run the demos that are named, all by default; 0 if each claim held and was drawn."""
    parser = argparse.ArgumentParser(prog="python -m demos", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=f"a claim's number, 1 to {len(CLAIMS)}, or of {', '.join(DEMOS)}")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name("out"), help="folder for the pictures"
    )
    chosen = parser.parse_args(arguments)
    numbers = {str(i): name for i, name in enumerate(CLAIMS, 1)}
    names = [numbers.get(name, name) for name in chosen.names]
    unknown = [name for name in names if name not in DEMOS]
    if unknown:
        parser.error(f"no demo {', '.join(unknown)}; there are {', '.join(DEMOS)}")
    try:
        chosen.out.mkdir(parents=True, exist_ok=True)
        if names:
            for name in names:
                one(name, chosen.out)
        else:
            every(chosen.out)
    except OSError as error:
        print(f"can't write to {chosen.out}: {error}; choose a folder with --out", file=sys.stderr)
        return 2
    except (RendererNotFound, RenderingFailed, AssertionError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def one(name: str, out: Path) -> None:
    """Run a demo that prints all it has to say."""
    demo = importlib.import_module(f"demos.{name}")
    print(f"\n=== {title(name, demo)} ===\n{text(demo)}\n")
    start = time.perf_counter()
    found = demo.run(Board(out))
    print(f"  in short: {found}\n  {time.perf_counter() - start:.1f} s")


def every(out: Path) -> None:
    """Run all demos, with a line for each; then the table, and the page that shows them all."""
    pages, start = [], time.perf_counter()
    for i, name in enumerate(DEMOS, 1):
        demo, board = importlib.import_module(f"demos.{name}"), Board(out, loud=False)
        head, began = f"[{i:2}/{len(DEMOS)}] {name:20}", time.perf_counter()
        if sys.stdout.isatty():
            print(f"{head} ...", end="\r", flush=True)
        with contextlib.redirect_stderr(io.StringIO()):  # there `fit` would show its own progress
            found = demo.run(board)
        held = sum(kind == "claim" for kind, *_ in board.items)
        print(f"{head} {time.perf_counter() - began:4.1f} s, {held} hold", flush=True)
        pages.append(index.Page(name, title(name, demo), text(demo), found, demo.__file__, board))
    print("\n" + table(pages))
    path = index.write(pages, out)
    print(f"\nAll in {time.perf_counter() - start:.0f} s. To walk through them, open {path}")


def title(name: str, demo: ModuleType) -> str:
    """The claim and its number, or what a demo before or after the claims shows."""
    claim = (demo.__doc__ or "").splitlines()[0]
    return f"{CLAIMS.index(name) + 1}. {claim}" if name in CLAIMS else claim


def text(demo: ModuleType) -> str:
    """The question and its answer: a demo's docstring below its first line."""
    return "\n".join((demo.__doc__ or "").splitlines()[2:]).strip()


def table(pages: list[index.Page]) -> str:
    """The claims on the left, what was measured on the right, in 80 columns."""
    lines = [f"{'claim':38}  measured", f"{'-' * 38}  {'-' * 40}"]
    for page in pages:
        cells = textwrap.wrap(page.title, 38), textwrap.wrap(page.found, 40)
        for i in range(max(map(len, cells))):
            left, right = (cell[i] if i < len(cell) else "" for cell in cells)
            lines.append(f"{left:38}  {right}".rstrip())
        lines.append("")
    return "\n".join(lines[:-1])


def stop(number: int, frame: object) -> None:
    """What Ctrl-C does: end the demos. `fit` by itself would end its training, and return."""
    sys.exit("\nstopped by Ctrl-C")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, stop)
    sys.exit(main())
