"""The page of an audit in Chromium: accessible, silent on the network, and its saved list is one that applies."""

import csv
from pathlib import Path

import pytest

from glitchtrace.audit import example
from glitchtrace.audit.run import audit_path
from glitchtrace.command import main

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")


@pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed")
def test_a_person_decides_saves_and_applies(tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    path = example.write(tmp_path)
    out = tmp_path / "out"
    audit_path(path, label="diagnosis", id="patient", out=out, gain_repeats=0)
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for width, height in ((1400, 900), (390, 844)):
            page = browser.new_page(viewport={"width": width, "height": height})
            said: list[str] = []
            asked: list[str] = []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.on("pageerror", lambda error, said=said: said.append(str(error)))
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(f"file://{out / 'report.html'}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert Axe().run(page).violations_count == 0
            cards = page.locator("#list > li")
            first, second = cards.nth(0), cards.nth(1)
            first.get_by_role("button", name="Relabel").click()
            second.get_by_role("button", name="The label is right").focus()
            page.keyboard.press("Enter")
            assert "1 accepted, 1 refused" in page.locator("#decided").inner_text()
            with page.expect_download() as waiting:
                page.get_by_role("button", name="Save the reviewed list").click()
            waiting.value.save_as(tmp_path / f"list-{width}.csv")
            assert not said
            assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
        browser.close()
    with open(tmp_path / "list-390.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["decision"] for row in rows] == ["accept", "refuse"]
    assert main(["apply", str(tmp_path / "list-390.csv"), "--audit", str(out), "--out", str(tmp_path)]) == 0
    before, after = (file.read_text().splitlines() for file in (path, tmp_path / "cleaned-reviewed.csv"))
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
