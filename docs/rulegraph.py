"""Put the rule graph of the default study, as Snakemake draws it, into the README (``make docs``)."""

import subprocess

from glitchtrace.core import files

graph = subprocess.run(
    ["snakemake", "--rulegraph", "mermaid-js", "--quiet", "all"], capture_output=True, text=True, check=True
).stdout
lines = graph[graph.index("flowchart") :].strip().splitlines()
# The colours of all rules change with every rule that is added anywhere.
lines = [line for line in lines if not line.lstrip().startswith("style ")]
# Snakemake writes the arrows in another order every time.
arrows = sorted(line for line in lines if "-->" in line)
lines = [*(line for line in lines if "-->" not in line), *arrows]
files.replace_section("README.md", "rule graph", "\n".join(["```mermaid", *lines, "```"]))
