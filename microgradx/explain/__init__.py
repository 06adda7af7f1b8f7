"""Why a gradient is what it is, whether it is right, and what is proved of it."""

from typing import TYPE_CHECKING

from microgradx.explain.check import check_gradients
from microgradx.explain.comparison import compare
from microgradx.explain.explanation import Flow, why

__all__ = ["Bounds", "Flow", "check_gradients", "compare", "why"]


if TYPE_CHECKING:
    from microgradx.explain.bounds import Bounds
else:

    def __getattr__(name):
        """`Bounds` is loaded when asked for, with the arithmetic of intervals."""
        if name != "Bounds":
            raise AttributeError(
                f"microgradx.explain has no {name!r}; it offers {', '.join(__all__)}"
            )
        from microgradx.explain.bounds import Bounds

        return Bounds
