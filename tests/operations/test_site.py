"""The site builds strictly, shows every room and asks nobody else for anything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from running import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` does."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    foreign = re.compile(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"?(?:https?:)?//", re.I)
    fetched = re.compile(r"@import[^;]*//|url\(\s*[\"']?(?:https?:)?//", re.I)
    assert not [page for page in site.rglob("*.html") if foreign.search(page.read_text(encoding="utf-8"))]
    assert not [sheet for sheet in site.rglob("*.css") if fetched.search(sheet.read_text(encoding="utf-8"))]


def test_every_room_has_its_page_with_links_to_the_methods(site: Path) -> None:
    rooms = {path.parent.name for path in (ROOT / "src/glitchtrace").glob("*/__init__.py")}
    assert {page.stem for page in (site / "api").glob("*.html")} == {"glitchtrace", *rooms}
    assert 'href="../methods/tracin.html#closed-form"' in (site / "api/influence.html").read_text(
        encoding="utf-8"
    )
