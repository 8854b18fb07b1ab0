"""A report of a real session in a real browser: it works, on a desk and in a pocket."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright")

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium"),
]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, worker_id):
    """The page of three models that were trained, if only for an epoch, once for all workers."""
    everyones = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        everyones = everyones.parent
    results = everyones / "results_of_test_browser"
    with FileLock(everyones / "results_of_test_browser.lock"):
        if not list(results.glob("*/report.html")):
            train_three_models(results)
    (page,) = results.glob("*/report.html")
    return page


def train_three_models(results):
    names = " or ".join(f"digits-{model}]" for model in ("cnn", "stn", "stn_coordboth"))
    command = ["-m", "pytest", "benchmarks", "-q", "-p", "no:cacheprovider", "-k", names]
    search = ["--dataset", "digits", "--epochs", "1", "--seeds", "2", "--final"]
    environment = {name: value for name, value in os.environ.items() if name[:4] != "STN_"}
    subprocess.run(
        [sys.executable, *command, *search, "--device", "cpu", "--results-dir", str(results)],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=[*SWITCHES])
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desktop", "phone"])
def page(request, browser, page_file):
    """The open page; whatever the browser complains of, or asks the network for, is an error."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    trouble = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("requestfailed", lambda asked: trouble.append(asked.url))
    page.goto(page_file.as_uri())
    yield page
    context.close()
    assert trouble == []


def column(page, name):
    """The texts of a column of the table, in the order in which they are shown."""
    place = page.locator("table.sortable thead th").all_inner_texts()
    place = [text.strip(" ▲▼") for text in place].index(name)
    cells = page.locator(f"table.sortable tbody tr:visible td:nth-child({place + 1})")
    return cells.all_inner_texts()


def test_the_page_is_as_wide_as_the_screen(page):
    for cell in page.locator("details").all():
        cell.evaluate("cell => cell.open = true")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_click_on_a_header_sorts_and_another_turns_round(page):
    header = page.get_by_role("button", name="parameters")
    header.click()
    ascending = [int(text.replace(",", "")) for text in column(page, "parameters")]
    assert ascending == sorted(ascending)
    assert len(set(ascending)) == 3
    header.click()
    assert [int(t.replace(",", "")) for t in column(page, "parameters")] == ascending[::-1]
    page.get_by_role("button", name="model").click()
    assert column(page, "model") == ["cnn", "stn", "stn_coordboth"]


def test_the_filter_keeps_the_rows_with_every_word(page):
    search = page.get_by_role("searchbox")
    search.fill("STN")
    assert column(page, "model") in (["stn", "stn_coordboth"], ["stn_coordboth", "stn"])
    search.fill("digits coordboth")
    assert column(page, "model") == ["stn_coordboth"]
    assert page.get_by_role("status").inner_text() == "1 of 3 rows"
    search.fill("")
    assert len(column(page, "model")) == 3


def test_a_model_in_the_table_leads_to_its_pictures_which_are_all_there(page):
    page.get_by_role("link", name="stn", exact=True).click()
    section = page.locator("details.cell[open]")
    assert section.count() == 1
    assert section.locator("summary").inner_text().startswith("stn")
    for figure in section.locator("figure:visible").all():
        box = figure.locator("svg").bounding_box()
        assert min(box["width"], box["height"]) > 50
    images = section.locator("figure.warps image")
    assert images.count() == 1
    assert images.evaluate("""async shown => {
        const image = new Image();
        image.src = shown.href.baseVal;
        await image.decode();
        return image.naturalWidth > 100;
    }""")


def test_every_picture_can_be_decoded(page):
    sizes = page.evaluate("""() => Promise.all(
        [...document.querySelectorAll("svg image")].map(async shown => {
            const image = new Image();
            image.src = shown.href.baseVal;
            await image.decode();
            return image.naturalWidth * image.naturalHeight;
        }))""")
    assert len(sizes) > 10
    assert min(sizes) > 0


def test_losses_change_to_a_logarithmic_axis_at_will(page):
    linear, log = (
        page.locator("section > .figures .linear"),
        page.locator("section > .figures .log"),
    )
    assert linear.first.is_visible()
    assert not log.first.is_visible()
    page.get_by_label("losses on a logarithmic axis").check()
    assert log.first.is_visible()
    assert not linear.first.is_visible()


def test_two_warps_stand_side_by_side_and_can_be_chosen(page):
    sides = page.locator(".side")
    before = [side.locator(".picture svg").inner_html() for side in sides.all()]
    assert before[0] != before[1]
    sides.nth(0).get_by_role("combobox").select_option(index=1)
    assert sides.nth(0).locator(".picture svg").inner_html() != before[0]


def test_text_stands_out_from_the_page(page):
    """Contrast of the body's text, of figures' too, as WCAG 2 asks: at least 4.5 to 1."""
    contrast = page.evaluate("""() => {
        const luminance = colour => {
            const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(value => value / 255);
            const linear = parts.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
        };
        const page = luminance(getComputedStyle(document.body).backgroundColor);
        const text = document.querySelector("figure svg text");
        return [getComputedStyle(document.body).color, getComputedStyle(text).fill].map(colour => {
            const [low, high] = [page, luminance(colour)].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05);
        });
    }""")
    assert min(contrast) >= 4.5
