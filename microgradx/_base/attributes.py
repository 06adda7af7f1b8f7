"""An attribute of many objects, set on all of them or, after an exception, on none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def put(name: str, holders: Sequence[Any], contents: Iterable[Any]) -> None:
    """Give each holder its content; Ctrl-C at any line leaves all, or nothing."""
    before = [getattr(holder, name) for holder in holders]
    try:
        for holder, content in zip(holders, contents):
            setattr(holder, name, content)
    except BaseException:
        for holder, content in zip(holders, before):
            setattr(holder, name, content)
        raise
