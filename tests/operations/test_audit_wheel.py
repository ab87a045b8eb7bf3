"""The wheel outside the checkout: two commands lead to a report, and nothing is read from the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel is installed without its dependencies, which are those of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("src", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True)
    build = [
        sys.executable,
        "-c",
        "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])",
        str(folder),
    ]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(target)], check=True)
    return target


def test_two_commands_lead_from_nothing_to_a_report(site: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    environment.pop("GLITCHTRACE_DATA", None)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(site) in run("-c", "import glitchtrace; print(glitchtrace.__file__)")
    run("-m", "glitchtrace.audit.example")
    said = run("-m", "glitchtrace", "audit", "tumours.csv", "--label", "diagnosis", "--id", "patient")
    assert "wrong labels found in 575 rows" in said
    folder = tmp_path / "results/audit/tumours"
    assert {"issues.parquet", "issues.csv", "report.html", "cleaned.csv", "gain.json", "summary.json"} <= {
        path.name for path in folder.iterdir()
    }
    page = (folder / "report.html").read_text()
    assert "Content-Security-Policy" in page
    assert str(ROOT) not in page
