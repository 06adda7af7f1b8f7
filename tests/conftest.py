"""Fixtures that more than one room's tests may ask for."""

from tests.step.browser import browser, contexts, open_page

__all__ = ["browser", "contexts", "open_page"]
