"""Put the rule graph of the default study, as Snakemake draws it, into the README (``make docs``)."""

import subprocess

from glitchtrace import files

graph = subprocess.run(
    ["snakemake", "--rulegraph", "mermaid-js", "--quiet", "all"], capture_output=True, text=True, check=True
).stdout
files.replace_section(
    "README.md", "rule graph", f"```mermaid\n{graph[graph.index('flowchart') :].strip()}\n```"
)
