"""The pages say what the code does: examples run as they stand, facts are those of the cards."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from glitchtrace.core import registry

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(
    r"^`([\w/.]+)`\n\n```(?:python|yaml)\n(.*?)^```", (ROOT / "docs/extending.md").read_text(), re.M | re.S
)

# What was injected in each cell, and how well the new signal finds it.
LOOK = """
import json
from pathlib import Path
import pandas as pd
from glitchtrace.evaluation.detection import auroc

found = {}
for glitch in ("collapse", "collapse@lower"):
    (file,) = Path(f"results/moons/random_features/{glitch}-0.1/seed-0").glob("tracin*/scores.parquet")
    samples = pd.read_parquet(f"results/moons/{glitch}-0.1/seed-0/glitch.parquet")
    scores = pd.read_parquet(file)["other_classes"]
    wrong = (samples["kind"] == 1).to_numpy()
    found[glitch] = {
        "wrong": int(wrong.sum()), "samples": len(samples),
        "labels": sorted(set(samples.loc[wrong, "label"])), "auroc": auroc(scores.to_numpy(), wrong),
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> dict:
    """What the study of the page finds, with its examples in a folder of the user's own."""
    root = tmp_path_factory.mktemp("extended")
    for path, content in EXAMPLES:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    study = ["--configfile", "moons.yaml", "--cores", "2"]
    for command in (
        [sys.executable, "my/write_moons.py"],
        [snakemake, "scores", "--snakefile", str(ROOT / "Snakefile"), *study],
        [sys.executable, "-c", LOOK],
    ):
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return json.loads(done.stdout)


def test_the_page_has_an_example_of_every_kind() -> None:
    kinds = [re.findall('^KIND = "(.*)"', content, re.M) for _, content in EXAMPLES]
    assert kinds == [[], ["dataset"], ["glitch"], ["model"], ["detector"], []]


def test_the_examples_of_the_page_run_and_find_what_they_inject(extended: dict) -> None:
    assert set(extended) == {"collapse", "collapse@lower"}
    for found, target in ((extended["collapse"], 0), (extended["collapse@lower"], 1)):
        assert found["labels"] == [target]
        assert found["wrong"] == int(0.1 * found["samples"])
        assert found["auroc"] > 0.9


def test_the_facts_of_every_dataset_are_those_of_its_card() -> None:
    spec = importlib.util.spec_from_file_location("datasets_page", ROOT / "docs/datasets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "docs/datasets.md").read_text()
    for name in registry.names("dataset"):
        assert f"<!-- {name}: begin -->\n{module.facts(name)}\n<!-- {name}: end -->" in text, (
            "run `make docs`"
        )
    assert f"<!-- rates: begin -->\n{module.rates()}\n<!-- rates: end -->" in text, "run `make docs`"
    assert "* source: https://zenodo.org/record/3239543/files/mnist_c.zip" in text
    assert module.facts("mnist_c_stripe").endswith("`mnist_c.zip`, md5 4b34b33045869ee6d424616cd3a65da3")
