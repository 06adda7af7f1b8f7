"""A leaf changed on the page of a net of 305 nodes, each drawn, all of whose numbers follow.

From the slider's event to a page that is laid out, in headless Chromium; "to the next frame" is
until it is painted, which waits for the screen's clock.
"""

import tempfile
from pathlib import Path
from statistics import median

from microgradx import Value, nn, page
from tests.bench.timing import Line

MOVE = """async () => {
  const slider = document.getElementById("leaf-slider"), times = [];
  const { min, max } = Object.fromEntries(["min", "max"].map((end) => [end, Number(slider[end])]));
  for (let k = 0; k < 41; k += 1) {
    const start = performance.now();
    slider.value = min + (max - min) * (7 * k % 41) / 41;
    slider.dispatchEvent(new Event("input"));
    document.body.getBoundingClientRect();
    const laidOut = performance.now() - start;
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    times.push([laidOut, performance.now() - start]);
  }
  return times.slice(1);
}"""


def lines() -> list[Line]:
    from playwright.sync_api import sync_playwright

    from tests.step.browser import program

    xs = [Value(x, f"x{i}") for i, x in enumerate([1.0, 0.5, -1.0])]
    net = nn.MLP(3, [13, 13, 1], activation="tanh", seed=1)(xs)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = page(net, fold_above=1000).save(Path(folder) / "page.html")
        browser = playwright.chromium.launch(executable_path=program(playwright))
        it = browser.new_page(viewport={"width": 1280, "height": 800})
        it.goto(path.as_uri())
        it.keyboard.press("End")
        it.wait_for_timeout(1000)
        laid_out, painted = map(median, zip(*it.evaluate(MOVE)))
        browser.close()
    facts = ("", f"{laid_out:.0f} ms", "next frame", f"{painted:.0f} ms")
    return [Line("a leaf changed on the page", *facts, laid_out, 50, "ms", at_most=True)]
