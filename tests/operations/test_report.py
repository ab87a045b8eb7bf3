"""The report in a headless browser, offline, on a desk and on a telephone; and Snakemake's own as a zip."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from running import Checkout

# None is Playwright's own.
CHROMIUM = shutil.which("chromium")
LARGEST_BYTES = 8_000_000


@pytest.fixture(scope="module")
def report(finished: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the smoke study."""
    checkout = finished.copy(tmp_path_factory.mktemp("report") / "run")
    checkout.run("--reporter", "glitchtrace", "--report-glitchtrace-path", "report.html")
    return checkout.folder / "report.html"


def test_a_large_report_is_a_zip(finished: Checkout, tmp_path: Path) -> None:
    import zipfile

    checkout = finished.copy(tmp_path / "run")
    checkout.run("--report", "report.zip")
    with zipfile.ZipFile(checkout.folder / "report.zip") as archive:
        assert any(name.endswith("report.html") for name in archive.namelist())
        assert archive.testzip() is None


def test_the_report_is_small_and_holds_no_mail_address(report: Path) -> None:
    assert report.stat().st_size <= LARGEST_BYTES
    text = report.read_text(encoding="utf-8")
    assert "mailto:" not in text
    assert "<script" not in text


@pytest.mark.parametrize("width", [1280, 390])
def test_every_figure_and_table_can_be_read(report: Path, width: int) -> None:
    from playwright.sync_api import sync_playwright

    results = report.parent / "results/studies/smoke"
    requests: list[str] = []
    with sync_playwright() as browsers:
        if CHROMIUM is None and not Path(browsers.chromium.executable_path).exists():
            pytest.skip("chromium is not installed")
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(offline=True, viewport={"width": width, "height": 844}).new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.goto(report.as_uri())
        first = page.locator("main h2").first
        assert first.inner_text() == "What was found"
        assert first.bounding_box()["y"] < 400  # in the window, before anything is scrolled
        assert page.locator("section#findings li").count() > 3
        menu = page.locator("nav a").all_inner_texts()
        assert menu == [
            "Findings", "Detection", "Repair", "Training", "Cost", "Provenance", "How to read it"
        ]  # fmt: skip
        for summary in page.locator("summary").all():
            summary.click()
        for image in page.locator("img").all():
            image.scroll_into_view_if_needed()
            assert image.evaluate("one => one.decode().then(() => one.naturalWidth)") > 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        files = sorted(results.rglob("*.csv"))
        tables = page.locator("details table")
        assert tables.count() == len(files)
        rows = sorted(len(table.locator("tbody tr").all()) for table in tables.all())
        assert rows == sorted(len(pd.read_csv(file)) for file in files)
        assert page.locator("img").count() == len(list(results.rglob("figures/**/*.svg")))
        browser.close()
    assert [url for url in requests if url.startswith("http")] == []
