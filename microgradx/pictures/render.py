"""DOT source in, a picture file out: through the first Graphviz there is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from types import NoneType
from typing import TYPE_CHECKING

from microgradx._base.files import write_whole
from microgradx._base.text import clean
from microgradx.pictures import show

if TYPE_CHECKING:
    from pathlib import Path

# What only rendering needs is imported where it renders: importing microgradx stays quick.

BUNDLED = "graphviz-pure"  # a static build that pip installs with us; it doesn't call itself `dot`
FORMS = "svg", "png", "jpg", "gif", "webp", "pdf", "eps", "ps"  # of pictures, if a program has them
SECONDS = 120.0
# Boxes are made for Helvetica's letters: where it is missing, others that are no wider go first.
FONTS = (
    b'"Helvetica,sans-Serif"',
    b'"Helvetica,Arial,Liberation Sans,Nimbus Sans,DejaVu Sans Condensed,sans-serif"',
)


class RendererNotFound(RuntimeError):
    """There is no Graphviz to draw with."""


class RenderingFailed(RuntimeError):
    """Graphviz refused the source, or took too long."""


def find_renderer(choice: str | None = None) -> str:
    """The path of the program that renders: `choice`, else `dot` on PATH, else the bundled one.

    `choice` is a program's name or path, "graphviz-pure" the bundled one.
    RendererNotFound, which says what to install, if there is none.
    """
    import shutil

    for name in [choice] if choice else ["dot", BUNDLED]:
        program = shutil.which(name) or (_bundled() if name == BUNDLED else None)
        if program:
            return program
    tried = choice or f"`dot` on PATH and `{BUNDLED}` beside this Python"
    raise RendererNotFound(
        f"no Graphviz to draw with: tried {tried}. Run `pip install {BUNDLED}`, or install "
        "Graphviz with your system's package manager"
    )


def _bundled() -> str | None:
    """The bundled program, in this environment's folder of scripts or in the user's."""
    import shutil
    import sysconfig

    folders = sysconfig.get_path("scripts"), sysconfig.get_path("scripts", f"{os.name}_user")
    return shutil.which(BUNDLED, path=os.pathsep.join(folders))


def render(source: str, format: str, choice: str | None = None) -> bytes:
    """The picture of DOT `source` in `format` ("svg", "png", or what the program offers).

    RendererNotFound without a program, RenderingFailed if it can't do it.
    """
    import subprocess

    program = find_renderer(choice)
    command = [program, f"-T{format}"] + (["-Gdpi=120"] if format == "png" else [])
    for ranking in [], ["-Gnewrank=true"]:  # the usual one can fail where a path re-enters a frame
        try:
            done = subprocess.run(
                command + ranking, input=source.encode(), capture_output=True, timeout=SECONDS,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise RenderingFailed(
                f"{program} took more than {SECONDS:.0f} s; draw a smaller part of the graph"
            ) from None
        except OSError as error:
            raise RendererNotFound(f"{program} does not run ({error}); choose another") from error
        if not done.returncode and done.stdout:
            return done.stdout.replace(*FONTS) if format == "svg" else done.stdout
    reason = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
    if known := re.search(r"not recognized. Use one of: (.*)", reason):
        forms = [f".{form}" for form in FORMS if form in known[1].split()]
        reason = f"it makes {', '.join(forms)} and .dot"
    raise RenderingFailed(f"{program} could not make .{format}: {reason}")


class Picture:
    """A drawn graph: DOT in `source`, and what it shows in words in `summary`.

    `svg()` and `png()` render it, `save(path)` writes it, `show()` opens it, and a notebook has it
    no wider than a cell.
    """

    def __init__(
        self, source: str, summary: str, renderer: str | None = None, format: str = "svg"
    ) -> None:
        if not isinstance(renderer, (str, os.PathLike, NoneType)):
            raise TypeError(f"renderer is the name or path of a program, got {renderer!r:.60}")
        self.source = source
        self.summary = clean(summary)
        self.renderer = renderer
        self.format = format

    def svg(self) -> str:
        """The picture as SVG text, dark where its reader prefers that.

        RendererNotFound or RenderingFailed if it can't be made.
        """
        text = render(self.source, "svg", self.renderer).decode(errors="replace")
        return show.with_dark_scheme(show.as_wide_as_reckoned(text))

    def png(self) -> bytes:
        """The picture as PNG; RendererNotFound or RenderingFailed if that can't be."""
        return render(self.source, "png", self.renderer)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to `path`, whose suffix is the format (.svg, .png, .dot, …).

        A path without a suffix gets that of `format`, svg unless `draw_dot` was told otherwise.
        Folders are made as needed; the file appears whole or not at all. Without a renderer the
        source is saved with suffix .dot, and RendererNotFound says where.
        """
        from pathlib import Path

        path = Path(path)
        if not path.suffix:
            path = path.with_suffix(f".{self.format}")
        if path.suffix.lower() in (".dot", ".gv"):
            write_whole(path, self.source.encode())
            return path
        try:
            form = path.suffix[1:].lower()
            content = (
                self.svg().encode() if form == "svg" else render(self.source, form, self.renderer)
            )
        except RendererNotFound as error:
            saved = path.with_suffix(".dot")
            write_whole(saved, self.source.encode())
            raise RendererNotFound(f"{error}. The picture's source is saved as {saved}") from None
        write_whole(path, content)
        return path

    render = save  # as the graphviz package, and so micrograd's notebook, calls it

    def html(self, words: str = "") -> str:
        """Words above the picture, for a notebook; of no renderer, more words say so."""
        return self._below(words, show.in_cell)

    def _below(self, words: str, form: Callable[[str], str]) -> str:
        try:
            return show.in_html(words, form(self.svg()))
        except (RendererNotFound, RenderingFailed) as error:
            return show.in_html(f"{words}\n\n{error}".strip(), "")

    def page(self, words: str = "") -> str:
        """Both as an HTML page of its own, whose title is what the picture shows."""
        return show.as_page(self.summary, self._below(words, show.in_page))

    def show(self, words: str = "") -> Path:
        """Open that page in the browser; returns the file that it shows."""
        return show.open_in_browser(self.page(words))

    def __repr__(self) -> str:
        return f"<Picture: {self.summary}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """The face in a notebook: the SVG, a PNG where that is not trusted, and the words."""
        try:
            return {
                "image/svg+xml": show.fitted(self.svg()),
                "image/png": show.in_base64(self.png()),
                "text/plain": repr(self),
            }
        except (RendererNotFound, RenderingFailed) as error:
            return {"text/plain": f"{self!r}\n{error}"}
