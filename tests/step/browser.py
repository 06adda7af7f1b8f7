"""A real browser for the tests of a self-contained page: `open_page`, and contrasts.

Skipped, with the reason, where playwright or a Chromium is missing; failed instead where
NEED_BROWSER is set, so that a CI that did install one can't quietly go without.
"""

import os
import shutil

import pytest

NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"


def _without(reason):
    if os.environ.get("NEED_BROWSER"):
        pytest.fail(f"NEED_BROWSER is set, but {reason}", pytrace=False)
    pytest.skip(reason)


def program(playwright):
    """The path of a Chromium: the one on PATH, or else playwright's own."""
    return next(filter(None, map(shutil.which, NAMES)), playwright.chromium.executable_path)


@pytest.fixture(scope="session")
def browser():
    """One headless Chromium for all tests."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        _without(f"playwright can't be imported: {error}")
    with sync_playwright() as playwright:
        path = program(playwright)
        if not os.path.exists(path):
            _without(f"there is no Chromium: none of {', '.join(NAMES)} on PATH")
        try:
            # Playwright adds --headless, --no-sandbox (root needs it), --disable-dev-shm-usage.
            # The rule seals what can't be routed: preconnects, and Chromium's own traffic.
            browser = playwright.chromium.launch(
                executable_path=path, args=["--host-resolver-rules=MAP * ~NOTFOUND"]
            )
        except Error as error:
            _without(f"{path} did not start: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


class Heard:
    """The messages and requests of a page: none, if it is sound and self-contained."""

    def __init__(self, context):
        self.clear()
        # Listens to the context, so that pop-ups, frames and workers are heard too.
        context.on("console", self._console)
        context.on("weberror", lambda error: self.errors.append(f"uncaught: {error.error}"))
        context.route("**/*", self._request)  # not called for data: and blob:
        context.route_web_socket("**/*", lambda ws: self.requests.append(f"websocket {ws.url}"))

    def clear(self):
        """Forget all, for another page."""
        self.errors, self.warnings, self.requests = [], [], []
        self._itself = None

    def _console(self, message):
        if message.type in ("error", "assert"):
            self.errors.append(f"console.{message.type}: {message.text}")
        elif message.type == "warning":
            self.warnings.append(message.text)

    def _request(self, route):
        request = route.request
        url = request.url.partition("#")[0]
        if self._itself is None and request.is_navigation_request():
            self._itself = url
        if url == self._itself:
            route.continue_()
        else:
            self.requests.append(f"{request.resource_type} {request.url}")
            route.abort()


DESKTOP = {"width": 1280, "height": 720}
LATER = {"viewport", "color_scheme", "reduced_motion"}


def show(page, viewport=DESKTOP, color_scheme="light", reduced_motion="no-preference"):
    """What an open page can change: another context, which is another window, takes much longer."""
    page.set_viewport_size(viewport)
    page.emulate_media(media="null", color_scheme=color_scheme, reduced_motion=reduced_motion)


@pytest.fixture(scope="session")
def contexts(browser):
    """The contexts opened so far by their options, each with a page: making one takes long."""
    known = {}
    yield known
    for page in known.values():
        page.context.close()


@pytest.fixture
def open_page(browser, contexts):
    """open_page(**options) is an empty page with a `heard`; go with page.goto(path.as_uri()).

    The options are those of new_context: viewport, color_scheme, java_script_enabled ... A page is
    used again, as the next test wants it shown, unless it is `alone`. One that erred or asked for
    anything fails its test.
    """
    used, own = [], []

    def open_page(alone=False, **options):
        shown = {x: options.pop(x) for x in LATER & options.keys()}
        key = repr(sorted(options.items()))
        page = None if alone else contexts.get(key)
        if page is None:
            context = browser.new_context(**options)
            context.set_default_timeout(10_000)
            heard = Heard(context)
            page = context.new_page()
            page.heard = heard
            if alone:
                own.append(context)
            else:
                contexts[key] = page
        page.goto("about:blank")
        show(page, **shown)
        page.heard.clear()
        used.append(page)
        return page

    yield open_page
    for context in own:
        context.close()
    heard = [what for page in used for what in page.heard.errors + page.heard.requests]
    if heard:
        pytest.fail("\n".join(["the page is neither sound nor self-contained:", *heard]))


# Every text in sight, with how it stands out from what is behind it, by WCAG's formula. A canvas
# lays colours over each other, whatever notation they are in.
CONTRASTS = r"""() => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const lay = (layers) => {
    pen.canvas.width = pen.canvas.height = 1;
    for (const colour of ["white", ...layers]) {
      pen.fillStyle = colour;
      pen.fillRect(0, 0, 1, 1);
    }
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const linear = (c) => (c <= 0.04045 * 255 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, w, i) => sum + w * linear(c[i]), 0);
  const behind = (element) => {
    const layers = [];
    for (let each = element; each instanceof Element; each = each.parentElement) {
      layers.unshift(getComputedStyle(each).backgroundColor);
    }
    return layers;
  };
  const found = [];
  const add = (element, ink, layers) => {
    const [high, low] = [light(lay([...layers, ink])), light(lay(layers))].sort((a, b) => b - a);
    found.push({ text: element.textContent.trim().slice(0, 40), ratio: (high + 0.05) / (low + 0.05),
                 where: element.closest("[class]")?.getAttribute("class") || element.tagName,
                 opacity: Math.min(...opacities(element)) });
  };
  const opacities = (element) => {
    const all = [];
    for (let x = element; x; x = x.parentElement) all.push(+getComputedStyle(x).opacity);
    return all;
  };
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((x) => x.nodeType === 3 && x.textContent.trim());
    if (!own
      || element.closest("script, noscript, title, .hide, .unborn, [aria-disabled=true]")) continue;
    const style = getComputedStyle(element);
    if (style.visibility === "hidden" || !element.getClientRects().length) continue;
    if (!(element instanceof SVGElement)) { add(element, style.color, behind(element)); continue; }
    const shape = element.closest(".node, .cell")?.querySelector("path, polygon");
    const fill = shape ? [getComputedStyle(shape).fill] : [];
    add(element, style.fill, [...behind(element.closest("section")), ...fill]);
  }
  return found;
}"""


def contrasts(page):
    """Each text in sight, as a dict of text, where, ratio and opacity; what is disabled is not."""
    return page.evaluate(CONTRASTS)
