"""The site as a reader meets it, made of the notebooks with their outputs: links lead somewhere, pictures have a text.

In a headless Chromium nothing is asked of a network, nothing goes wrong and nothing sticks out.
"""

import html
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Page, sync_playwright

from sparseguard.report import pages
from tests.browser.test_explorer import CHROMIUM, FLAGS, ROOT

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "figures", out / "figures")
    books = [Path(shutil.copy(path, out)) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    texts = sorted((ROOT / "notebooks" / "pages").glob("*.md"))
    pages.write_site(dict.fromkeys(books, 1.0), texts, out)
    return out


def test_every_link_leads_somewhere_and_every_picture_has_a_text(site: Path) -> None:
    written = sorted(site.glob("*.html"))
    assert len(written) >= 17
    for path in written:
        text = path.read_text(encoding="utf-8")
        anchors = set(re.findall(r'\bid="([^"]+)"', text))
        for address in re.findall(r'\b(?:href|src)="([^"]+)"', text):
            if re.match(r"(data|https?|mailto):", address):
                continue
            name, _, anchor = unquote(html.unescape(address)).partition("#")
            assert (site / (name or path.name)).is_file(), f"{path.name}: {address}"
            if anchor:
                there = anchors if not name else set(re.findall(r'\bid="([^"]+)"', (site / name).read_text("utf-8")))
                assert anchor in there, f"{path.name}: {address}"
        for tag in re.findall(r"<img\b[^>]*>", text):
            assert re.search(r"\balt=[\"']", tag), f"{path.name}: {tag[:80]}"
            assert path.name == "index.html" or not re.search(r'\balt=""', tag), f"{path.name}: {tag[:80]}"
        if (site / f"{path.stem}.ipynb").is_file():
            assert "<pre>" not in text.split("<details class=run>")[0].replace("<pre>\n<", ""), "inputs are absent"


def complaints(page: Page, path: Path, width: int) -> list[str]:
    """What goes wrong on a page of that width."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    page.goto(path.as_uri())
    wide = page.evaluate("document.documentElement.scrollWidth")
    return said + ([f"{wide} pixels wide"] if wide > width else [])


@needs_chromium
def test_pages_fit_a_screen_and_a_phone_without_errors_or_a_network(site: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for path in sorted(site.glob("*.html")):
            for width in (1200, 400):
                page = browser.new_page(viewport={"width": width, "height": 900})
                assert complaints(page, path, width) == [], f"{path.name} at {width}"
                page.close()
        browser.close()


@needs_chromium
def test_tables_are_sorted_steps_are_taken_and_the_answer_is_seen_without_scrolling(site: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto((site / "02_split.html").as_uri())
        box = page.locator(".sparseguard-summary").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 900
        table = page.locator(".sparseguard-table table").first
        table.get_by_role("button", name="PSNR ↓ measured").click()
        cells = table.locator("tbody tr td:nth-child(3)").all_inner_texts()
        values = [float(text.split(" ")[0]) for text in cells]
        assert values == sorted(values)
        assert len(values) >= 10
        first = table.locator("tbody tr td").first
        assert first.evaluate("cell => getComputedStyle(cell).position") == "sticky"

        page.goto((site / "03_lambda.html").as_uri())
        steps = page.locator(".sparseguard-stepper > section")
        page.locator(".sparseguard-stepper label", has_text="λ = 0.5").click()
        assert [steps.nth(i).is_visible() for i in range(steps.count())] == [False, False, True, False]
        page.keyboard.press("ArrowRight")
        assert steps.nth(3).is_visible()
        page.goto((site / "08_sparse_coding.html").as_uri())
        time, angle = (page.locator(".sparseguard-stepper").nth(i) for i in (0, 1))
        time.locator("label", has_text="settled").click()
        assert page.get_by_role("img", name="Settled at λ = 0.5 ").is_visible()
        page.keyboard.press("ArrowLeft")
        assert page.get_by_role("img", name="After 5 τ at λ = 0.5 ").is_visible()
        assert page.get_by_role("img", name=re.compile("^(After|Settled) ")).count() == 1
        angle.locator("label", has_text="90°").click()
        assert page.get_by_role("img", name="Two features at 90°").is_visible()
        assert page.locator("math").count() > 10
        assert page.locator("math").first.bounding_box() is not None
        browser.close()
