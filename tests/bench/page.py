"""A leaf changed on the pages of nets of about 300 nodes, all of whose numbers follow.

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


def nets() -> dict[str, tuple[Value, dict[str, bool]]]:
    """A net with each node drawn by itself, and one drawn as a net, a row for each sample."""
    rows = [[1.0, 0.5, -1.0], [0.5, 1.0, 1.0], [2.0, 3.0, -1.0], [3.0, -1.0, 0.5]]
    one = nn.MLP(3, [13, 13, 1], activation="tanh", seed=1)([Value(x) for x in rows[0]])
    model = nn.MLP(3, [8, 8, 1], activation="tanh", seed=1)
    four = nn.mse_loss([model(row) for row in rows], [1.0, -1.0, -1.0, 1.0])
    return {"each node drawn": (one, {"nodes": True}), "drawn as a net": (four, {})}


def lines() -> list[Line]:
    from playwright.sync_api import sync_playwright

    from tests.step.browser import program

    found = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(playwright))
        it = browser.new_page(viewport={"width": 1280, "height": 800})
        for name, (output, options) in nets().items():
            path = page(output, fold_above=1000, **options).save(Path(folder) / f"{name}.html")
            it.goto(path.as_uri())
            it.keyboard.press("End")
            it.wait_for_timeout(1000)
            laid_out, painted = map(median, zip(*it.evaluate(MOVE)))
            facts = ("", f"{laid_out:.0f} ms", "next frame", f"{painted:.0f} ms")
            what = f"a leaf changed on the page, {name}"
            found.append(Line(what, *facts, laid_out, 50, "ms", at_most=True))
        browser.close()
    return found
