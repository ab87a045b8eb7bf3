"""What ``make site`` adds to the pages of this folder: those that lie elsewhere, and the API, a page per room.

A hook of MkDocs.  The API is read from the sources, nothing is imported.  A link that leaves the site (to a study, a
rule, a weight card) becomes its text.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/glitchtrace"
# Page of the site -> its file in the repository.
ELSEWHERE = {
    "index.md": "README.md",
    "parameters.md": "config/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
# What `import glitchtrace` and the command offer.
FRONT = "glitchtrace"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
# Rooms in the order in which they may import each other.
ROOMS = (
    *("core", "data", "glitches", "models", "training", "influence", "detectors", "evaluation"),
    *("repair", "reporting", "audit", "operations", "papers"),
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The pages of the API, by name, in the place of ``api/``; the page of the audit once it is there."""
    pages = [{room: f"api/{room}.md"} for room in rooms()]
    config.nav = [{"API": pages} if entry == {"API": "api/"} else entry for entry in config.nav or []]
    if not (ROOT / "docs/audit.md").exists():
        for entry in config.nav:
            if "Use" in entry:
                entry["Use"] = [page for page in entry["Use"] if "audit.md" not in page.values()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages that lie elsewhere, and those of the API."""
    for name, source in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=relinked(text, source, files)))
    for room in rooms():
        files.append(File.generated(config, f"api/{room}.md", content=api_page(room)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page of this folder with its links as the site has them."""
    name = page.file.src_uri
    return (
        markdown
        if name in ELSEWHERE or name.startswith("api/")
        else relinked(markdown, f"docs/{name}", files)
    )


def relinked(text: str, source: str, files: Files) -> str:
    """The links of a file of the repository, as the site needs them."""
    there = {file: page for page, file in ELSEWHERE.items()}
    page = PurePosixPath(there.get(source, source.removeprefix("docs/")))

    def link(found: re.Match[str]) -> str:
        picture, label, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        name, _, anchor = target.partition("#")
        file = normpath(str(PurePosixPath(source).parent / name))
        goal = there.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else None)
        if goal is None or file.endswith(".py"):
            return label
        up = "../" * len(page.parent.parts)
        return f"{picture}[{label}]({up}{goal}{'#' + anchor if anchor else ''})"

    parts = re.split(r"(^```.*?^```)", text, flags=re.M | re.S)
    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in parts)


def rooms() -> list[str]:
    """The rooms that are there, the front door first."""
    return [FRONT, *(room for room in ROOMS if (PACKAGE / room).is_dir())]


def api_page(room: str) -> str:
    """The page of a room: an entry for every module in it that says what it does."""
    modules = sorted(
        ".".join(file.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        for file in (PACKAGE.glob("*.py") if room == FRONT else (PACKAGE / room).rglob("*.py"))
        if file.name not in ("__main__.py", "components.py")
    )
    return "\n\n".join([f"# {room}", *(f"::: {module}" for module in modules)])


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page with marks for assets/site.css: short names, long cells; an API page whose sources are links, too."""
    html = re.sub(r"<code>([^<\s]{1,24})</code>", r'<code class="whole">\1</code>', html)
    html = re.sub(r"<td( style=[^>]*)?>(.*?)</td>", marked, html, flags=re.DOTALL)
    if not page.file.src_uri.startswith("api/"):
        return html
    return re.sub(r"docs/((?:methods/)?[\w-]+)\.md(#[\w-]+)?", r'<a href="../\1.html\2">\g<0></a>', html)


def marked(cell: re.Match[str]) -> str:
    """A cell of a table, with a mark where it holds a sentence rather than a name or a number."""
    long = len(re.sub(r"<[^>]*>", "", cell[2])) > 60
    return f'<td class="long"{cell[1] or ""}>{cell[2]}</td>' if long else cell[0]


SHIM = '<script src="https://unpkg.com/iframe-worker/shim"></script>'


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """The page without the one script that the theme fetches from elsewhere; assets/worker.js does its work."""
    up = "../" * page.url.count("/")
    return output.replace(SHIM, f'<script src="{up}assets/worker.js"></script>')


def on_post_template(output_content: str, template_name: str, config: MkDocsConfig) -> str:
    """The same for what is no page."""
    return output_content.replace(SHIM, "")
