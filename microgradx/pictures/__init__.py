"""The graph drawn, with every local derivative on its edge."""

from microgradx.pictures.render import Picture, RendererNotFound, RenderingFailed
from microgradx.pictures.sheet import draw, draw_dot

__all__ = ["Picture", "RendererNotFound", "RenderingFailed", "draw", "draw_dot"]
