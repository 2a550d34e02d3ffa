"""The λ explorer as a reader meets it: a real JupyterLab in a headless Chromium."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import nbformat
import pytest
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SMALL = {"defenses": ["sparse_guard"], "lams": [0.1, 0.5], "settle": [], "scale": "smoke", "seeds": [0], "explore": []}
# when the picture's source changes, by the browser's clock
WATCH = """image => {
    window.changes = [];
    new MutationObserver(() => window.changes.push(performance.now())).observe(image, {attributeFilter: ["src"]});
}"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine (apt install chromium)")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """Address of the notebook, with small parameters, in a JupyterLab as `make lab` starts it; a store of its own."""
    book = nbformat.read(ROOT / "notebooks" / "03_lambda.ipynb", 4)
    cell = next(c for c in book.cells if "parameters" in c.metadata.get("tags", []))
    cell.source += "\n" + "\n".join(f"{name} = {value!r}" for name, value in SMALL.items())
    (tmp_path / "notebooks").mkdir()
    nbformat.write(book, tmp_path / "notebooks" / "03_lambda.ipynb")
    own = {
        name: str(tmp_path / name.lower())
        for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "SPARSEGUARD_HOME")
    }
    # one thread: two that wait for each other on a busy machine take ten times as long
    environment = os.environ | own | {"JUPYTER_PREFER_ENV_PATH": "1", "OMP_NUM_THREADS": "1"}
    news = re.findall(r"^NEWS := (.*)$", (ROOT / "Makefile").read_text(), flags=re.M)[0]
    (tmp_path / "jupyter_config_dir" / "labconfig").mkdir(parents=True)
    config = tmp_path / "jupyter_config_dir" / "labconfig" / "page_config.json"
    config.write_text(json.dumps({"disabledExtensions": {news: True}}))
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", str(tmp_path / "notebooks"), "--no-browser", "--port=0"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, f"--IdentityProvider.token={token}", "--allow-root"], env=environment, stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            running = list((tmp_path / "jupyter_runtime_dir").glob("jpserver-*.json"))
            if running and running[0].read_text():
                break
            assert server.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        port = json.loads(running[0].read_text())["port"]
        yield f"http://127.0.0.1:{port}/lab/tree/03_lambda.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for_change(page: Page, count: int) -> float:
    """Time of the picture's change number ``count + 1``, by the browser's clock, in ms."""
    page.wait_for_function("count => window.changes.length > count", arg=count, timeout=20_000)
    return float(page.evaluate("count => window.changes[count]", count))


def settle(page: Page) -> int:
    """Wait until the picture has rested for half a second; the number of changes so far."""
    count = -1
    while count != (count := page.evaluate("window.changes.length")):
        page.wait_for_timeout(500)
    return count


def test_dragging_lambda_changes_the_picture_soon_and_nothing_goes_wrong(lab: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1500, "height": 1300})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(lab, timeout=120_000)
        page.locator(".jp-RenderedMarkdown h1", has_text="How sparse?").wait_for(timeout=120_000)
        page.get_by_text("(ipykernel) | Idle").wait_for(timeout=120_000)  # cells run before that would be lost
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        picture = page.locator("img.widget-image")
        picture.wait_for(timeout=300_000)
        page.get_by_text("Not corrected for the number of comparisons").last.wait_for(timeout=120_000)  # a reading
        picture.scroll_into_view_if_needed()
        picture.evaluate(WATCH)

        page.set_viewport_size({"width": 900, "height": 1300})
        for pick in ("data set", "defense", "layer", "image"):
            at = page.locator(".widget-dropdown", has_text=pick).locator("select").bounding_box()
            assert at is not None
            assert at["width"] > 30, pick
            assert at["x"] + at["width"] <= 900, pick
        page.set_viewport_size({"width": 1500, "height": 1300})
        picture.scroll_into_view_if_needed()
        handle = page.locator(".widget-slider", has_text="λ").locator(".noUi-handle")
        box = handle.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        mark = page.locator(".sparseguard-marks span", has_text="0.5").bounding_box()  # where the handle is
        assert mark is not None
        assert abs(mark["x"] + mark["width"] / 2 - x) < 6
        settle(page)
        before, shown = picture.screenshot(), page.locator(".sparseguard-numbers").first.inner_text()
        page.mouse.move(x, y)
        page.mouse.down()
        taken, inside = [], []
        for step in range(1, 9):
            count = settle(page)
            start = page.evaluate("performance.now()")
            page.mouse.move(x - 20 * step, y)
            taken.append(wait_for_change(page, count) - start)
            inside.append(float(page.locator(".sparseguard-milliseconds").inner_text()))
        count = settle(page)
        for step in range(1, 41):  # faster than anything can be coded
            page.mouse.move(x - 160 + 8 * step, y)
        wait_for_change(page, count)
        burst = settle(page) - count
        page.mouse.up()
        settle(page)
        print(f"\nfrom mouse to picture {median(taken):.0f} ms (longest {max(taken):.0f}), in the kernel "
              f"{median(inside):.0f} ms; 40 moves at once: {burst} pictures")  # fmt: skip

        assert picture.screenshot() != before
        assert page.locator(".sparseguard-numbers").first.inner_text() != shown
        assert median(taken) < 2000  # loose: speeds are shown by benchmarks/explorer.py
        assert burst < 40  # what was passed over was dropped, not queued
        layers = page.locator(".widget-dropdown", has_text="layer").locator("select")
        layers.select_option("2")
        page.get_by_text("code of layer 2 at").wait_for(timeout=20_000)
        for kind in ("stderr", "error"):
            assert page.locator(f'[data-mime-type="application/vnd.jupyter.{kind}"]').all_inner_texts() == []
        assert page.locator(".jp-Dialog, .Toastify__toast").count() == 0
        assert errors == []
        if os.environ.get("SPARSEGUARD_SCREENSHOT"):
            page.screenshot(path=os.environ["SPARSEGUARD_SCREENSHOT"])
        browser.close()
