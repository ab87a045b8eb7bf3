"""The examples of the README run, in an empty folder, and print what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SESSIONS = re.findall(r"^```console\n(.*?)^```", README, re.M | re.S)
SCRIPTS = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
INTERPRETERS = {"python": [sys.executable], "glitchtrace": [sys.executable, "-m", "glitchtrace"]}


def run(command: list[str], folder: Path) -> str:
    """What a command prints; it must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("session", SESSIONS)
def test_a_session_prints_what_it_says(session: str, tmp_path: Path) -> None:
    printed: list[str] = []
    for line in session.splitlines():
        if not line.startswith("$ "):
            assert line in printed
            continue
        name, *arguments = shlex.split(line.removeprefix("$ "), comments=True)
        printed = run([*INTERPRETERS[name], *arguments], tmp_path).splitlines()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_prints_what_its_comments_say(script: str, tmp_path: Path) -> None:
    said = [line.removeprefix("# ") for line in script.splitlines() if line.startswith("# ")]
    printed = [line.strip() for line in run([sys.executable, "-c", script], tmp_path).splitlines()]
    assert not [line for line in said if line.strip() not in printed]


def test_there_is_a_door_for_data() -> None:
    assert SESSIONS
