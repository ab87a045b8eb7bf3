"""The workflow as others use it: as a module, from any folder, and with a storage that is not shared."""

import os
from pathlib import Path

import pytest
from running import PROGRAM, ROOT, SMOKE, Checkout, contents, finish

HELPERS = Path(__file__).parents[1] / "helpers"
MODULE = """
configfile: "{root}/config/studies/smoke.yaml"

module noise:
    snakefile: "{root}/workflow/Snakefile"
    config: {{**config, "study": "smoke"}}
    {prefix}

use rule * from noise as noise_*

rule mine:
    default_target: True
    input: rules.{target}.input
"""


def without_provenance(found: dict[str, bytes]) -> dict[str, bytes]:
    """Contents of results but the table of provenance, which holds what jobs cost."""
    return {name: content for name, content in found.items() if "provenance" not in name}


@pytest.mark.parametrize(
    ("prefix", "target"), [("prefix: 'noise'", "noise_all"), ("", "noise_scores")], ids=["prefix", "plain"]
)
def test_as_a_module_it_makes_the_same_files(
    prefix: str, target: str, finished: Checkout, tmp_path: Path
) -> None:
    (tmp_path / "flow").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "flow/Snakefile").write_text(MODULE.format(root=ROOT, prefix=prefix, target=target))
    finish([PROGRAM, "--cores", "2", "--directory", str(tmp_path / "run")], tmp_path / "flow")
    found = without_provenance(contents(tmp_path / "run" / ("noise" if prefix else "")))
    expected = without_provenance(contents(finished.folder))
    assert len(found) > 10
    if prefix:
        assert found.keys() == expected.keys()
    for name, content in found.items():
        assert content == expected[name], name


def test_with_a_storage_that_is_not_shared_it_makes_the_same_files(
    finished: Checkout, tmp_path: Path
) -> None:
    for name in ("run", "store", "local"):
        (tmp_path / name).mkdir()
    command = [PROGRAM, "--snakefile", str(ROOT / "Snakefile"), *SMOKE, "--cores", "2"]
    command += ["--default-storage-provider", "fs", "--default-storage-prefix", str(tmp_path / "store")]
    command += ["--local-storage-prefix", str(tmp_path / "local"), "--shared-fs-usage", "persistence"]
    command += ["software-deployment", "sources", "source-cache"]
    # The plugin calls rsync; where there is none, a copy does.
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}{os.pathsep}{HELPERS / 'bin'}"}
    finish(command, tmp_path / "run", environment=environment)
    # Where it was planned only the record of the settings is kept.
    kept = {path.name for path in (tmp_path / "run").glob("results/*")}
    assert kept == {"settings"}, kept
    assert without_provenance(contents(tmp_path / "store")) == without_provenance(contents(finished.folder))
