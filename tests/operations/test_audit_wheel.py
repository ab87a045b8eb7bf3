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
    for name in (
        *("src", "workflow", "config", "envs", "Snakefile", "setup.py", "MANIFEST.in"),
        *("pyproject.toml", "README.md", "LICENSE"),
    ):
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


class Elsewhere:
    """Commands in a folder where there is no checkout, with the installed package."""

    def __init__(self, site: Path, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        self.environment.pop("GLITCHTRACE_DATA", None)

    def run(self, *arguments: str, folder: Path | None = None) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def elsewhere(site: Path, tmp_path: Path) -> Elsewhere:
    return Elsewhere(site, tmp_path)


def files(folder: Path) -> dict[str, bytes]:
    """What an audit has written, without the stages that only a repeated command takes over."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "stages" not in path.parts
    }


def test_two_commands_lead_from_nothing_to_a_report(elsewhere: Elsewhere) -> None:
    assert str(elsewhere.site) in elsewhere.run("-c", "import glitchtrace; print(glitchtrace.__file__)")
    elsewhere.run("-m", "glitchtrace.audit.example")
    said = elsewhere.run(
        *("-m", "glitchtrace", "audit", "tumours.csv", "--label", "diagnosis", "--id", "patient")
    )
    assert "wrong labels found in 575 rows" in said
    folder = elsewhere.folder / "results/audit/tumours"
    assert {"issues.parquet", "issues.csv", "report.html", "cleaned.csv", "gain.json", "summary.json"} <= {
        path.name for path in folder.iterdir()
    }
    page = (folder / "report.html").read_text()
    assert "Content-Security-Policy" in page
    assert str(ROOT) not in page


def test_command_workflow_and_make_write_the_same_bytes(elsewhere: Elsewhere) -> None:
    """The workflow is that of the wheel; make runs in a copy of the checkout, whose paths it takes for granted."""
    elsewhere.run("-m", "glitchtrace.audit.example")
    elsewhere.run("-m", "glitchtrace", "audit", "tumours.csv", "--label", "diagnosis", "--id", "patient")
    expected = files(elsewhere.folder / "results/audit/tumours")
    assert len(expected) == 6

    snakefile = Path(elsewhere.run("-m", "glitchtrace", "workflow").strip())
    assert snakefile.is_relative_to(elsewhere.site)
    by_workflow = elsewhere.folder / "by workflow"
    by_workflow.mkdir()
    (by_workflow / "tumours.csv").write_bytes((elsewhere.folder / "tumours.csv").read_bytes())
    elsewhere.run(
        *("-m", "snakemake", "--snakefile", str(snakefile), "--cores", "1", "audit", "--config"),
        "audit={data: tumours.csv, settings: {label: diagnosis, id: patient}}",
        folder=by_workflow,
    )
    assert files(by_workflow / "results/audit/tumours") == expected

    checkout = elsewhere.folder / "checkout"
    checkout.mkdir()
    for name in ("Snakefile", "workflow", "config", "envs", "profiles", "Makefile", "pyproject.toml", "src"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(checkout)], check=True)
    (checkout / ".venv").symlink_to(Path(sys.prefix))
    (checkout / "tumours.csv").write_bytes((elsewhere.folder / "tumours.csv").read_bytes())
    make = ["make", "--old-file=.venv/ready", "audit"]
    done = subprocess.run(
        [*make, "DATA=tumours.csv", "LABEL=diagnosis", "ID=patient", f"PYTHONPATH={checkout / 'src'}"],
        cwd=checkout,
        env=elsewhere.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert files(checkout / "results/audit/tumours") == expected
