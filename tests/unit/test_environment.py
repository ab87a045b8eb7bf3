"""The locked environment: complete, without addresses, and in step with pyproject.toml and the conda file."""

import importlib.util
import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

import glitchtrace

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("refresh", ROOT / "envs/refresh.py")
refresh = importlib.util.module_from_spec(spec)
spec.loader.exec_module(refresh)
LOCK = (ROOT / "envs/requirements.lock").read_text()


def test_the_lock_meets_every_requirement_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = refresh.locked("3.11")
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        name = requirement.name.lower()
        assert requirement.specifier.contains(pins[name]), text


def test_the_lock_has_hashes_and_no_address() -> None:
    assert "://" not in LOCK
    for block in re.split(r"\n(?=[a-z0-9])", LOCK.strip()):
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_the_conda_file_is_made_from_the_lock() -> None:
    assert (ROOT / "envs/environment.yaml").read_text() == refresh.environment(), (
        "run `python envs/refresh.py`"
    )


def test_one_version_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert glitchtrace.__version__ == version
    assert f"## {version} (" in (ROOT / "CHANGELOG.md").read_text()
