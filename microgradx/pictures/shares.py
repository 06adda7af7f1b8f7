"""How the lines of a picture look when it explains one gradient.

A line is as wide as its share of the path mass, dark on the strongest path, blue where its factor
weakens the gradient and orange where it strengthens it, dashed where its paths oppose the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from microgradx._base.text import name_of
from microgradx.engine import Edge
from microgradx.explain.explanation import Explanation
from microgradx.explain.extended import show
from microgradx.pictures.style import AWAY, EVEN, STRONGER, STRONGEST, WEAKER

LINES = [  # for the legend
    (STRONGEST, "strongest path"), (WEAKER, "weakens"), (STRONGER, "strengthens"),
    (EVEN, "width, %: share of all paths; dashed: opposes"),
]  # fmt: skip


class Shares:
    """The lines between `node` and the output, and the words to go with them."""

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation
        self.paths = explanation.paths
        self.tangents = explanation.tangents if explanation.flow else None
        numbers = self.tangents.edges if self.tangents else []
        self.between = {self.paths.edge(e): e for e in numbers}
        self.path = {edge for edge, _ in explanation.path}
        self.culprits = set(explanation.culprits)

    def share(self, edge: Edge) -> float:
        """φ, from 0 to 1: how much of all paths goes along this edge."""
        if self.tangents is None or edge not in self.between or not self.tangents.mass.mantissa:
            return 0.0
        return self.tangents.shares[self.between[edge]]

    def opposes(self, edge: Edge) -> bool:
        """Whether what comes through this edge has the other sign than the gradient."""
        if self.tangents is None or edge not in self.between or not edge.partial:
            return False
        end = self.paths.wide(self.paths.index[edge.node])
        to = self.tangents.to(self.paths.index[edge.input])
        through = (edge.partial * to * end).mantissa
        return through < 0 < self.tangents.g.mantissa or self.tangents.g.mantissa < 0 < through

    def line(self, edges: Iterable[Edge]) -> dict[str, str]:
        """The DOT attributes of a line that stands for these edges."""
        edges = list(edges)
        ours = [edge for edge in edges if edge in self.between or edge in self.path]
        if not ours:
            return {"penwidth": "0.6", "color": AWAY, "fontcolor": EVEN}
        share = min(1.0, sum(map(self.share, ours)))
        gain = sum(self.share(e) * math.log10(abs(e.partial)) for e in ours if e.partial)  # credit
        colour = WEAKER if gain < -0.005 else STRONGER if gain > 0.005 else EVEN
        if self.path & set(ours):
            colour = STRONGEST
        style = "dashed" if all(map(self.opposes, ours)) else "solid"
        attributes = {"penwidth": f"{0.8 + 5.2 * share:.2f}", "color": colour, "style": style}
        return {**attributes, "fontcolor": colour if colour != AWAY else EVEN}

    def badge(self, edges: Iterable[Edge]) -> str:
        """The words beside the factor on a line's badge: its share, and whether it is to blame."""
        edges = list(edges)
        share = min(1.0, sum(map(self.share, edges)))
        words = [f"{share:.0%}"] if 0.005 <= share < 0.995 else []
        return ", ".join(words + (["culprit"] if self.blames(edges) else []))

    def blames(self, edges: Iterable[Edge]) -> bool:
        """Whether one of these edges alone is to blame for what the gradient is."""
        return not self.culprits.isdisjoint(edges)

    def lines(self) -> list[str]:
        """The verdict and the budget, for the head of the picture."""
        why = self.explanation
        of = f"∂{name_of(why.output)}/∂{name_of(why.node)}"
        g = f" = {show(why.flow.wide)}" if why.flow else " = 0"
        causes = f": {', '.join(why.causes[:4])}" if why.causes else ""
        return [f"{of}{g}, {why.verdict}{causes}"]

    def terms(self) -> list[tuple[str, float]]:
        """The budget in decades, largest first, and their sum."""
        why = self.explanation
        terms = sorted(why.budget.items(), key=lambda term: -abs(term[1]))
        shown = [(kind, x) for kind, x in terms if abs(x) >= 0.005]
        return [*shown, ("log₁₀|g|", why.flow.decades)] if why.flow and shown else []
