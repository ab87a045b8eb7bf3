"""The report in a headless browser, offline: every category, every figure and every table is opened."""

import shutil
from pathlib import Path

import pytest
from running import Checkout

# None is Playwright's own.
CHROMIUM = shutil.which("chromium")
# A new picture stands beside the logo, and nothing is still on its way.
DRAWN = """before => {
  const images = [...document.images];
  return images.length > 1 && images.every(one => one.complete) && images.map(one => one.src).join() !== before;
}"""


@pytest.fixture(scope="module")
def report(finished: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the smoke study."""
    checkout = finished.copy(tmp_path_factory.mktemp("report") / "run")
    checkout.run("--report", "report.html")
    return checkout.folder / "report.html"


def test_a_large_report_is_a_zip(finished: Checkout, tmp_path: Path) -> None:
    import zipfile

    checkout = finished.copy(tmp_path / "run")
    checkout.run("--report", "report.zip")
    with zipfile.ZipFile(checkout.folder / "report.zip") as archive:
        assert any(name.endswith("report.html") for name in archive.namelist())
        assert archive.testzip() is None


def test_every_figure_is_drawn_and_every_table_is_there(report: Path) -> None:
    from playwright.sync_api import sync_playwright

    results = report.parent / "results/studies/smoke"
    drawn, tables, errors, requests = 0, [], [], []
    with sync_playwright() as browsers:
        if CHROMIUM is None and not Path(browsers.chromium.executable_path).exists():
            pytest.skip("chromium is not installed")
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(offline=True, viewport={"width": 1400, "height": 900}).new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(report.as_uri())
        page.get_by_role("link", name="Cost", exact=True).wait_for()
        menu = page.locator("li a").all_inner_texts()
        categories = [entry for entry in menu if entry and entry not in ("Workflow", "Statistics", "About")]
        assert categories == ["Cost", "Detection", "Provenance", "Repair", "Training"]
        for category in categories:
            page.goto(report.as_uri())
            page.get_by_role("link", name=category, exact=True).click()
            page.locator("[iconname=eye]").first.wait_for()
            for view in page.locator("[iconname=eye]").all():
                if view.get_attribute("download"):
                    with page.expect_download() as download:
                        view.click()
                    tables.append((download.value.suggested_filename, download.value.path()))
                    continue
                before = page.evaluate("[...document.images].map(one => one.src).join()")
                view.click()
                page.wait_for_function(DRAWN, arg=before)
                widths = page.eval_on_selector_all("img", "found => found.map(one => one.naturalWidth)")
                assert min(widths) > 0, f"{category}: a picture is broken"
                drawn += 1
        for entry in ("Workflow", "Statistics", "About"):
            page.goto(report.as_uri())
            page.get_by_role("link", name=entry, exact=True).click()
            if entry != "About":
                page.locator("canvas, svg.marks").first.wait_for()
        files = sorted(results.rglob("*.csv"))
        assert sorted(name for name, _ in tables) == sorted(file.name for file in files)
        assert sorted(path.read_bytes() for _, path in tables) == sorted(file.read_bytes() for file in files)
        browser.close()
    assert drawn == len(list(results.rglob("figures/**/*.svg")))
    assert errors == []
    assert [url for url in requests if url.startswith("http")] == []
