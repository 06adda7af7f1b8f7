"""The check-up in files: figures for machines, in JSON, and a page for people."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microgradx._base.files import WrongSuffix, write_whole
from microgradx.diagnosis.findings import Finding

if TYPE_CHECKING:
    import os

    from microgradx.diagnosis.result import Checkup


def write(c: Checkup, path: str | os.PathLike[str]) -> Path:
    """Write the report to an .html or a .json file, whole or not at all; returns its Path."""
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".json":
        write_whole(path, json.dumps(figures(c), indent=1, allow_nan=False).encode())
        return path
    raise WrongSuffix(f"a check-up is saved to an .html or a .json file, got {path}")


def figures(c: Checkup) -> dict[str, Any]:
    """All that was found, of numbers, texts, lists and dicts; what isn't finite is a text."""
    found = {
        "format": 1,
        "rows": len(c.task.X), "of": c.task.total, "parameters": c.ledger.total,
        "loss": c.loss, "guess": c.guess, "loss function": c.task.words,
        "agreement": c.agreement, "interrupted": c.interrupted,
        "findings": [_finding(x) for x in c.findings],
        "layers": dict(c.layers), "neurons": dict(c.neurons),
    }  # fmt: skip
    return {key: _plain(x) for key, x in found.items()}


def _finding(x: Finding) -> dict[str, Any]:
    return {field.name: getattr(x, field.name) for field in fields(x) if field.repr}


def _plain(x: Any) -> Any:
    if isinstance(x, dict):
        return {str(key): _plain(part) for key, part in x.items()}
    if isinstance(x, (list, tuple)):
        return [_plain(part) for part in x]
    if isinstance(x, float) and not math.isfinite(x):
        return str(x)
    return x
