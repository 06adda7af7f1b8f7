"""The one writer of files: pictures, pages and weights, whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


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
