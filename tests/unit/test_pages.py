"""What pages and docstrings point at exists: files, sections, commands."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (
    ".",
    "config",
    "docs",
    "docs/methods",
    ".github",
    ".github/ISSUE_TEMPLATE",
    "src/glitchtrace/models/weights",
)
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CITED = re.compile(r"\bdocs/[\w./-]+\.md(?:#[\w-]+)?")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.M | re.S)


@cache
def sections(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ +(.*?) *$", text, re.M)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def broken(target: str, page: Path) -> str | None:
    """What is wrong with a link of a page, None for a good one; other sites are not visited."""
    if re.match(r"[a-z]+:", target):
        return None
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.exists():
        return f"{page.relative_to(ROOT)}: {target} does not exist"
    if anchor and anchor not in sections(path):
        return f"{page.relative_to(ROOT)}: {target} has no such section"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    assert not [fault for target in LINK.findall(text) if (fault := broken(target, page))]


def test_every_section_that_a_docstring_cites_exists() -> None:
    cited = [(cited, file) for file in SOURCES for cited in CITED.findall(file.read_text(encoding="utf-8"))]
    assert len(cited) > 50
    assert not [f"{file}: {fault}" for target, file in cited if (fault := broken(target, ROOT / "README.md"))]


def test_nothing_cites_a_text_that_is_not_here() -> None:
    dead = re.compile(r"\bspecification\b(?!s)", re.I)
    assert not [file for file in (*SOURCES, *PAGES) if dead.search(file.read_text(encoding="utf-8"))]
