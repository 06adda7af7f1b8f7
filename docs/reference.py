"""The API reference: a page for each door of the package, made by pdoc from the docstrings."""

from __future__ import annotations

import re
import sys
import warnings
from importlib import import_module
from pathlib import Path

from pdoc import doc, render

# The doors, and the rooms whose classes a user holds: what `why` and `page` return.
PAGES = [
    "microgradx", "microgradx.nn", "microgradx.optim", "microgradx.step", "microgradx.step.html",
    "microgradx.explain", "microgradx.explain.explanation", "microgradx.explain.bounds",
    "microgradx.pictures", "microgradx.replay", "microgradx.train", "microgradx.interop",
    "microgradx.engine",
    "microgradx.ops", "microgradx.rules",
]  # fmt: skip
# `name:  what it is`, `one, other: what they are`; the lines below belong to it if they stand in.
FIELD = re.compile(r"(?P<names>\*{0,2}\w+(\(\w*\))?(, \*{0,2}\w+(\(\w*\))?)*): +(?P<text>\S.*)")


def build(folder: Path) -> None:
    """Write the reference into `folder`; whatever pdoc warns of is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        modules = {name: _resolved(name) for name in PAGES}
        modules[PAGES[0]].submodules = [modules[name] for name in PAGES[1:]]
        render.configure(docformat="markdown", show_source=False)
        for name, module in modules.items():
            page = folder / f"{name.replace('.', '/')}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(render.html_module(module, modules), encoding="utf-8")
        (folder / "index.html").write_text(render.html_index(modules), encoding="utf-8")
        (folder / "search.js").write_text(render.search_index(modules), encoding="utf-8")


def _resolved(name: str) -> doc.Module:
    """A module with its late names in place, and its docstrings in Markdown."""
    module = import_module(name)
    for each in getattr(module, "__all__", ()):
        setattr(module, each, getattr(module, each))
    found = doc.Module(module)
    members = list(found.members.values())
    for member in members:  # which grows meanwhile
        if isinstance(member, doc.Class):
            members += member.members.values()
            if hasattr(member.obj, "_fields"):  # a NamedTuple is made in no module of its own
                member.obj.__new__.__module__ = member.obj.__module__
    for member in [found, *members]:
        member.docstring = as_markdown(member.docstring)
        if member.name in getattr(module, "__all__", ()) and member.docstring:
            member.docstring += "\n\n@public"  # as pdoc says it, of `__version__` too
    return found


def as_markdown(docstring: str) -> str:
    """A docstring whose aligned fields are a list."""
    lines: list[str] = []
    inside = False
    for line in docstring.splitlines():
        field = FIELD.fullmatch(line)
        if field:
            lines += [] if inside else [""]
            names = field["names"].replace("*", r"\*")
            lines.append(f"- **{names}**: {field['text']}")
        elif inside and line.startswith("  "):
            lines.append(f"  {line.strip()}")
        else:
            line = f"\\{line}" if line.startswith("[") else line  # no target of links
            lines += ["", line] if inside and line else [line]
        inside = bool(field) or (inside and line.startswith("  "))
    return "\n".join(lines)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/reference")
    build(folder)
    print(folder / "index.html")


if __name__ == "__main__":
    main()
