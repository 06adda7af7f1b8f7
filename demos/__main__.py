"""Run the demos: `python -m demos` all of them, `python -m demos vanishing` or `5` one.

All together they leave a table of the claims with their measured numbers, and a page that leads
from one to the next. One by one they print every number.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import signal
import sys
import textwrap
import time
from pathlib import Path
from types import ModuleType

from demos import index
from demos.plumbing import Board, ClaimFails, Item, show
from microgradx.pictures.render import RendererNotFound, RenderingFailed

CLAIMS = (
    "linear_stack",
    "relu_is_not_linear",
    "ramps_and_steps",
    "bent_lines",
    "vanishing",
    "no_culprit",
    "saturation",
    "exploding",
    "dead_relu",
    "tanh_beside_sigmoid",
    "batch_norm",
    "one_slope",
)
DEMOS = ("lecture_neuron", *CLAIMS, "micrograd_moons", "digits", "checkup_digits", "depth_and_gain")


def main(arguments: list[str] | None = None) -> int:
    """Run the demos that are named, all by default; 0 if each claim held and was drawn."""
    parser = argparse.ArgumentParser(
        prog="python -m demos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"a claim's number, 1 to {len(CLAIMS)}, or of {', '.join(DEMOS)}",
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name("out"), help="folder for the pictures"
    )
    parser.add_argument(
        "--long", action="store_true", help="look closer where that takes minutes: depth_and_gain"
    )
    chosen = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has a ∂
    numbers = {str(i): name for i, name in enumerate(CLAIMS, 1)}
    names = [numbers.get(name, name) for name in chosen.names]
    unknown = [name for name in names if name not in DEMOS]
    if unknown:
        parser.error(f"no demo {', '.join(unknown)}; there are {', '.join(DEMOS)}")
    try:
        chosen.out.mkdir(parents=True, exist_ok=True)
        held = (
            [one(name, Board(chosen.out, long=chosen.long)) for name in names]
            if names else [every(chosen.out, chosen.long)]
        )  # fmt: skip
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"can't write to {chosen.out}: {error}; choose a folder with --out", file=sys.stderr)
        return 2
    except (RendererNotFound, RenderingFailed) as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if all(held) else 1


def one(name: str, board: Board) -> bool:
    """Run a demo that prints all it has to say; whether its claim held."""
    demo = importlib.import_module(f"demos.{name}")
    show(f"\n=== {title(name, demo)} ===", text(demo), "")
    start = time.perf_counter()
    found, holds = run(demo, board)
    show(f"in short: {found}", f"{time.perf_counter() - start:.1f} s", indent="  ")
    return holds


def every(out: Path, long: bool) -> bool:
    """Run all demos, with a line for each; then the table, and the page that shows them all."""
    pages, start, all_hold = [], time.perf_counter(), True
    for i, name in enumerate(DEMOS, 1):
        demo, board = importlib.import_module(f"demos.{name}"), Board(out, False, long)
        head, began = f"[{i:2}/{len(DEMOS)}] {name:20}", time.perf_counter()
        if sys.stdout.isatty():
            print(f"{head} ...", end="\r", flush=True)
        found, holds = run(demo, board)
        all_hold = all_hold and holds
        held = sum(item.kind == "claim" for item in board.items)
        notes = [f"{held} hold", *[item.text for item in board.items if item.kind == "missing"]]
        print(f"{head} {time.perf_counter() - began:4.1f} s, {'; '.join(notes)}", flush=True)
        pages.append(index.Page(name, title(name, demo), text(demo), found, demo.__file__, board))
    print("\n" + table(pages))
    path = index.write(pages, out)
    print(f"\nAll in {time.perf_counter() - start:.0f} s. To walk through them, open {path}")
    return all_hold


def run(demo: ModuleType, board: Board) -> tuple[str, bool]:
    """Run a demo; the number that it measured, and whether its claim held."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):  # no terminal: `fit` shows no progress there
            return demo.run(board), True
    except ClaimFails as claim:
        found = f"FAILED: {claim}"
        board.items.append(Item("missing", found))
        return found, False
    finally:
        sys.stderr.write(said.getvalue())


def title(name: str, demo: ModuleType) -> str:
    """The claim and its number, or what a demo before or after the claims shows."""
    claim = (demo.__doc__ or "").splitlines()[0]
    return f"{CLAIMS.index(name) + 1}. {claim}" if name in CLAIMS else claim


def text(demo: ModuleType) -> str:
    """The question and its answer: a demo's docstring below its first line."""
    paragraphs = (demo.__doc__ or "").split("\n\n")[1:]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def table(pages: list[index.Page]) -> str:
    """The claims on the left, the measured numbers on the right, in 80 columns."""
    lines = [f"{'claim':38}  measured", f"{'-' * 38}  {'-' * 40}"]
    for page in pages:
        cells = textwrap.wrap(page.title, 38), textwrap.wrap(page.found, 40)
        for i in range(max(map(len, cells))):
            left, right = (cell[i] if i < len(cell) else "" for cell in cells)
            lines.append(f"{left:38}  {right}".rstrip())
        lines.append("")
    return "\n".join(lines[:-1])


def stop(number: int, frame: object) -> None:
    """End the demos on Ctrl-C. `fit` by itself would end its training, and return."""
    print("\nstopped by Ctrl-C", file=sys.stderr)
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, stop)
    sys.exit(main())
