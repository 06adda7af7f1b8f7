"""The one writer of files: pictures, pages and weights, whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class WrongSuffix(ValueError):
    """A file is asked for in a format that it is not written in."""


def as_html(path: str | os.PathLike[str], what: str) -> Path:
    """The path of a page, .html where it has no suffix; a WrongSuffix where it has another."""
    from pathlib import Path

    path = Path(path)
    if path.suffix.lower() not in ("", ".html", ".htm"):
        raise WrongSuffix(f"{what} is saved as .html, got {path.name!r:.80}; for a picture alone, "
                          ".svg, .png or .dot, save that of mx.draw")  # fmt: skip
    return path if path.suffix else path.with_suffix(".html")


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path`, all of it or nothing; an OSError names the folder that refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name[:40]}.{os.urandom(8).hex()}.part")
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
