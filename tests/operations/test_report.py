"""The report in a headless browser, offline: every category, every figure and every table is opened."""

import shutil
from pathlib import Path

import pytest
from running import Checkout

CHROMIUM = shutil.which("chromium")


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
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    results = report.parent / "results/studies/smoke"
    drawn, tables, errors, requests = 0, [], [], []
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(offline=True, viewport={"width": 1400, "height": 900}).new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.on("download", lambda download: tables.append((download.suggested_filename, download.path())))
        page.goto(report.as_uri())
        page.get_by_role("link", name="Cost", exact=True).wait_for()
        menu = page.locator("li a").all_inner_texts()
        categories = [entry for entry in menu if entry and entry not in ("Workflow", "Statistics", "About")]
        assert categories == ["Cost", "Detection", "Provenance", "Repair", "Training"]
        for category in categories:
            page.goto(report.as_uri())
            page.get_by_role("link", name=category, exact=True).click()
            page.locator("[iconname=eye]").first.wait_for()
            for row in range(page.locator("[iconname=eye]").count()):
                before = len(tables)
                page.locator("[iconname=eye]").nth(row).click()
                page.wait_for_timeout(600)
                if len(tables) == before:
                    widths = page.eval_on_selector_all("img", "found => found.map(one => one.naturalWidth)")
                    assert len(widths) > 1, f"{category}: no picture beside the logo"
                    assert min(widths) > 0, f"{category}: a picture is broken"
                    drawn += 1
        for entry in ("Workflow", "Statistics", "About"):
            page.goto(report.as_uri())
            page.get_by_role("link", name=entry, exact=True).click()
            page.wait_for_timeout(600)
            if entry != "About":
                assert page.locator("canvas, svg.marks").count() > 0, f"{entry}: nothing is drawn"
        files = sorted(results.rglob("*.csv"))
        assert sorted(name for name, _ in tables) == sorted(file.name for file in files)
        assert sorted(path.read_bytes() for _, path in tables) == sorted(file.read_bytes() for file in files)
        browser.close()
    assert drawn == len(list(results.rglob("figures/**/*.svg")))
    assert errors == []
    assert [url for url in requests if url.startswith("http")] == []
