"""Put the rules of the default study into docs/architecture.md: what each one takes from which (``make docs``)."""

import re
import subprocess

from glitchtrace.core import files


def main() -> None:
    """Ask Snakemake for the graph of rules and write it as a table."""
    command = ["snakemake", "--rulegraph", "mermaid-js", "--quiet", "all"]
    graph = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    files.replace_section("docs/architecture.md", "rules", table(graph))


def table(graph: str) -> str:
    """The rules in an order in which each comes after those that it takes from, alphabetically where either could."""
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", graph))
    takes: dict[str, set[str]] = {name: set() for name in names.values()}
    for source, target in re.findall(r"(id\d+) --> (id\d+)", graph):
        takes[names[target]].add(names[source])
    rows: dict[str, list[str]] = {}
    while len(rows) < len(takes):
        ready = min(name for name in takes if name not in rows and takes[name] <= set(rows))
        rows[ready] = [name for name in rows if name in takes[ready]]
    del rows["all"]
    lines = [
        f"| `{name}` | {', '.join(f'`{one}`' for one in of) or 'your data'} |" for name, of in rows.items()
    ]
    return "\n".join(["| rule | takes from |", "|---|---|", *lines])


if __name__ == "__main__":
    main()
