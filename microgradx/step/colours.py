"""The pictures' colours on the page, by the names that its style gives them."""

from __future__ import annotations

from microgradx.pictures import style

# The looks of a cell: how much gradient there is, how much a slope takes, and three words.
SHADES = {
    **{f"s{i}": fill for i, fill in enumerate(style.BLUES)},
    **{f"o{i}": fill for i, (_, fill) in enumerate(style.ORANGES)},
}
STRIP = {
    "left": style.LEFT, "slopes": style.BY_SLOPES, "weights": style.BY_WEIGHTS,
    "gained": style.GAINED, "ground": style.GROUND,
}  # fmt: skip
LOOKS = {
    **{fill: name for name, fill in SHADES.items()},
    style.STOP: "halt", style.PALE: "zero", style.NOT_FINITE: "odd",
}  # fmt: skip
OWN = {  # those for which the page has colours of its own
    "box": style.PAPER, "edge": style.LINE, "soft": style.GREY, "ink": style.INK,
    "stop": style.STOP, "on-stop": style.ON_STOP, "odd": style.NOT_FINITE, "starved": style.PALE,
}  # fmt: skip
FIRST = "> polygon:first-of-type"  # a cell's own, on which others may lie


def variables(is_dark: bool) -> str:
    """The colours as variables of the page's style."""
    dark = style.DARK if is_dark else {}
    return " ".join(f"--{name}: {dark.get(fill, fill)};" for name, fill in _all().items())


def of_legend() -> str:
    """The rules for the swatches of the page's legend."""
    return "\n".join(f"#legend .{name} rect {{ fill: var(--{name}); }}" for name in _all())


def of_cells() -> str:
    """The rules that give what Graphviz has drawn the page's colours, and the cells their looks."""
    rules = [
        f'#picture .box [{kind}="{fill}"] {{ {kind}: var(--{name}); }}'
        for name, fill in {**_all(), **OWN}.items()
        for kind in ("fill", "stroke")
    ]
    looks = {**dict.fromkeys(SHADES), "zero": "starved", "odd": "odd"}
    rules += [
        f"#picture.net .cell.{look} {FIRST} {{ fill: var(--{name or look}); }}"
        for look, name in looks.items()
    ]
    return "\n".join(rules)


def _all() -> dict[str, str]:
    return {**SHADES, **STRIP}
