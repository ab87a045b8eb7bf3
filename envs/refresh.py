"""Write environment.yaml, the conda form of the locked environment: our direct dependencies, pinned as in the lock.

Part of ``make lock``; a test keeps the file and the lock in step.
"""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement

FOLDER = Path(__file__).parent
PYTHON = "3.11"
HEADER = """# For `--sdm conda`: Python from conda, our direct dependencies as pinned in requirements.lock.
# Made by `make lock`; do not edit.
"""


def environment() -> str:
    """The text of environment.yaml."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = locked(PYTHON)
    needed = [Requirement(text) for text in project["dependencies"]]
    listed = [f"{item.name}{_extras(item)}=={pins[item.name]}" for item in needed]
    content = {
        "name": "glitchtrace",
        "channels": ["conda-forge"],
        "dependencies": [f"python={PYTHON}", "pip", {"pip": listed}],
    }
    return HEADER + yaml.safe_dump(content, sort_keys=False)


def locked(python: str) -> dict[str, str]:
    """Package name -> version in the lock, for Linux and one Python version."""
    found = {}
    lock = (FOLDER / "requirements.lock").read_text(encoding="utf-8")
    for name, version, marker in re.findall(r"^([\w.-]+)==(\S+)(?: ; ([^\\\n]+))?", lock, re.MULTILINE):
        target = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
        if not marker or Marker(marker.strip()).evaluate(target):
            found[name] = version
    return found


def _extras(requirement: Requirement) -> str:
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""


if __name__ == "__main__":
    (FOLDER / "environment.yaml").write_text(environment(), encoding="utf-8")
