"""The live widgets as a reader meets them: a real JupyterLab in a headless Chromium."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import nbformat
import pytest
from playwright.sync_api import Locator, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
BOOKS: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "03_lambda": ({"seeds": [0], "measure": False}, ("run_grid(", "lambda_explorer(")),
    "08_sparse_coding": ({"seeds": [0]}, ("LayerStudy(", "layer_widgets.")),
}
"""Parameters of each notebook, and what its cells that matter here call; the cells it shows have sixteen images."""
PICTURE = ".widget-html:has(img)"
# when the hand moved, and when the picture had changed, by the browser's clock
WATCH = """box => {
    window.changes = [];
    box.addEventListener("load", () => window.changes.push(performance.now()), true);
    for (const kind of ["pointermove", "keydown"])
        document.addEventListener(kind, event => { window.hand = event.timeStamp; }, true);
}"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine (apt install chromium)")


def trimmed(name: str) -> nbformat.NotebookNode:
    """A notebook with other parameters, and without the cells that are not looked at here."""
    given, calls = BOOKS[name]
    book: nbformat.NotebookNode = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
    book.cells = [c for c in book.cells if any(part in c.source for part in ("# ", "import ", "check_para", *calls))]
    cell = next(c for c in book.cells if "parameters" in c.metadata.get("tags", []))
    cell.source += "\n" + "\n".join(f"{name} = {value!r}" for name, value in given.items())
    for each in book.cells:
        if each.cell_type == "code":
            each.outputs = []
    return book


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the notebooks in a JupyterLab as `make lab` starts it; a store of its own."""
    tmp_path = tmp_path_factory.mktemp("lab")
    (tmp_path / "notebooks").mkdir()
    for name in BOOKS:
        nbformat.write(trimmed(name), tmp_path / "notebooks" / f"{name}.ipynb")
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
        yield f"http://127.0.0.1:{port}/lab/tree/%s.ipynb?reset&token={token}"
    finally:
        server.terminate()
        server.wait(timeout=30)


@contextmanager
def opened(address: str, pictures: int) -> Iterator[Page]:
    """A notebook that was run to its end; nothing may go wrong meanwhile, nor while the page is used."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1500, "height": 1300})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address, timeout=120_000)
        page.get_by_text("(ipykernel) | Idle").wait_for(timeout=120_000)  # cells run before that would be lost
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.locator(PICTURE).nth(pictures - 1).wait_for(timeout=100_000)
        yield page
        for kind in ("stderr", "error"):
            assert page.locator(f'[data-mime-type="application/vnd.jupyter.{kind}"]').all_inner_texts() == []
        assert page.locator(".jp-Dialog, .Toastify__toast").count() == 0
        assert errors == []
        browser.close()


def wait_for_change(page: Page, count: int) -> float:
    """Milliseconds from the last move of the hand to the picture's change number ``count + 1``."""
    page.wait_for_function("count => window.changes.length > count", arg=count, timeout=20_000)
    return float(page.evaluate("count => window.changes[count] - window.hand", count))


def settle(page: Page) -> int:
    """Wait until the picture has rested for half a second; the number of changes so far."""
    count = -1
    while count != (count := page.evaluate("window.changes.length")):
        page.wait_for_timeout(500)
    return count


def handle(page: Page, slider: str) -> Locator:
    """What is dragged, of the slider with that label."""
    label = page.locator(".widget-label", has_text=re.compile(f"^{re.escape(slider)}$"))
    return page.locator(".widget-slider", has=label).get_by_role("slider")


def press(page: Page, slider: str, keys: list[str]) -> list[float]:
    """Milliseconds from each key on a slider to the changed picture."""
    handle(page, slider).focus()
    taken = []
    for key in keys:
        count = settle(page)
        page.keyboard.press(key)
        taken.append(wait_for_change(page, count))
    settle(page)
    return taken


def told(what: str, taken: list[float]) -> str:
    return f"{what} {median(taken):.0f} ms (longest of {len(taken)}: {max(taken):.0f})"


def test_the_explorer_follows_the_hand(lab: str, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(lab % "03_lambda", 1) as page:
        picture, numbers = page.locator(PICTURE), page.locator(".sparseguard-numbers")
        picture.scroll_into_view_if_needed()
        picture.evaluate(WATCH)
        assert "accuracy of the network" in numbers.inner_text()
        beside = page.get_by_text("the attacker's through: no defense (all 16: ")
        assert ", convolutions (all 16: " in beside.inner_text()
        page.get_by_role("img", name=re.compile("^Image 1, its code of layer 1 at λ = 0.5, settled")).wait_for()

        page.set_viewport_size({"width": 900, "height": 1300})
        for pick in ("data set", "defense", "layer", "image"):
            at = page.locator(".widget-dropdown", has_text=pick).locator("select").bounding_box()
            assert at is not None
            assert at["width"] > 30, pick
            assert at["x"] + at["width"] <= 900, pick
        end, wide = page.locator(".sparseguard-marks span").last.bounding_box(), picture.bounding_box()
        assert end is not None
        assert wide is not None
        assert end["x"] + end["width"] <= wide["x"] + wide["width"], "not cut off"
        page.set_viewport_size({"width": 1500, "height": 1300})
        handle(page, "λ").scroll_into_view_if_needed()
        rows = page.locator(".sparseguard-marks")
        assert rows.nth(0).inner_text().replace("▲", "").split() == ["0.1", "0.25", "0.5", "0.75"]
        assert rows.nth(1).inner_text().replace("▲", "").split() == ["0.5", "1", "2", "5", "settled"]
        places = []
        for row, mark, name in ((0, "0.5", "λ"), (1, "settled", "settles")):
            box = handle(page, name).bounding_box()
            under = rows.nth(row).locator("span", has_text=mark).bounding_box()
            assert box is not None
            assert under is not None
            places.append((box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))
            assert abs(under["x"] + under["width"] / 2 - places[-1][0]) < 3  # where the handle is

        settle(page)
        before, shown = picture.inner_html(), numbers.inner_text()
        x, y = places[0]
        page.mouse.move(x, y)
        page.mouse.down()
        taken, inside = [], []
        for step in range(1, 9):
            count = settle(page)
            page.mouse.move(x - 20 * step, y)
            taken.append(wait_for_change(page, count))
            inside.append(float(page.locator(".sparseguard-milliseconds").inner_text()))
        count = settle(page)
        for step in range(1, 41):  # faster than anything can be coded
            page.mouse.move(x - 160 + 8 * step, y)
        wait_for_change(page, count)
        burst = settle(page) - count
        page.mouse.up()
        settle(page)
        assert picture.inner_html() != before
        assert numbers.inner_text() != shown
        assert burst < 40  # what was passed over was dropped, not queued

        along = press(page, "settles", ["ArrowLeft"] * 4)
        page.get_by_text(re.compile(r"code of layer 1 at λ = [\d.]+, time \d+ τ")).wait_for()
        with capsys.disabled():
            print(f"\n{told('16 images, from mouse to picture', taken)}, in the kernel {median(inside):.0f} ms; "
                  f"{told('along the axis of time', along)}; 40 moves at once: {burst} pictures")  # fmt: skip
        assert median(taken) < 2000  # loose: a busy machine must not fail
        picture.scroll_into_view_if_needed()
        at = picture.bounding_box()
        assert at is not None
        page.mouse.click(at["x"] + 3.5 / 16 * at["width"], at["y"] + 0.95 * at["height"])  # the fourth column
        page.get_by_role("img", name=re.compile("^Image 4,")).wait_for()
        assert "image 4 of 16" in numbers.inner_text()
        page.locator(".widget-dropdown", has_text="layer").locator("select").select_option("2")
        page.get_by_text("code of layer 2 at").wait_for(timeout=20_000)
        if os.environ.get("SPARSEGUARD_SCREENSHOT"):
            page.screenshot(path=os.environ["SPARSEGUARD_SCREENSHOT"])


def test_the_layer_is_played_with_by_keys(lab: str, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(lab % "08_sparse_coding", 2) as page:
        for number, slider, before, after in (
            (0, "time along eq. 2", "After 0.5 τ at λ = 0.5 ", "After 0.8 τ at λ = 0.5 "),
            (1, "angle of the features", "Two features at 40°", "Two features at 50°"),
        ):
            picture = page.locator(PICTURE).nth(number)
            picture.scroll_into_view_if_needed()
            page.get_by_role("img", name=before).wait_for()
            picture.evaluate(WATCH)
            taken = press(page, slider, ["ArrowRight"] * 2)
            page.get_by_role("img", name=after).wait_for()
            with capsys.disabled():
                print(f"\n{told(f'{slider}, from key to picture', taken)}")
