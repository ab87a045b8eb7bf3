"""The pages say what the code does: examples run as they stand, facts are those of the cards."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from glitchtrace.core import configuration, registry

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(
    r"^`([\w/.]+)`\n\n```(?:python|yaml)\n(.*?)^```", (ROOT / "docs/extending.md").read_text(), re.M | re.S
)

# From raw data to the score of the new signal, in a process that sees the copy of the package.
RUN = """
import json, sys
import pandas as pd, yaml
from glitchtrace.core import configuration, files, grid
from glitchtrace.data.fetch import fetch_data
from glitchtrace.data.prepare import prepare_data
from glitchtrace.evaluation.detection import auroc
from glitchtrace.glitches.stage import inject_glitch
from glitchtrace.influence.stage import profile_influence
from glitchtrace.detectors.stage import detect_cell
from glitchtrace.training.stage import train_cell

base = configuration.load_schema()
study = yaml.safe_load(open("config/studies/moons.yaml"))
configuration.check(study, base)
resolved = configuration.resolve(study, base)
settings = resolved["settings"]
found = {}
source = {"labels": "moons/labels.npy", "description": "moons/source.json"}
fetch_data(dataset="moons", features="moons/features.npy", **source)
for cell in grid.cells(resolved["grid"], settings):
    model = dict(settings["model"][cell.model])
    training = model.pop("training")["default"]
    problem = {"features": ["moons/features.npy"], "split": "split.parquet", "glitch": "glitch.parquet"}
    trained = {"factors": "factors.safetensors", "checkpoints": "checkpoints.safetensors"}
    prepare_data(**source, split="split.parquet", seed=cell.seed, settings=settings["dataset"][cell.dataset])
    inject_glitch(split="split.parquet", labels=[source["labels"]], descriptions=[source["description"]],
        glitch="glitch.parquet", dataset=cell.dataset, name=cell.glitch, ratio=cell.ratio, seed=cell.seed,
        settings=settings["glitch"][cell.glitch])
    train_cell(**problem, **trained, history="history.parquet", dataset=cell.dataset, model=cell.model,
        settings=model, training=training, seed=cell.seed, evaluation_batch=100)
    profile_influence(**problem, **trained, profile="profile.safetensors", dataset=cell.dataset, model=cell.model,
        model_settings=model, estimator=cell.estimator, settings=settings["estimator"][cell.estimator])
    detect_cell(glitch="glitch.parquet", profile=["profile.safetensors"], scores="scores.parquet",
        detectors=["other_classes"], settings={}, estimator_settings={}, seed=0)
    samples, scores = pd.read_parquet("glitch.parquet"), pd.read_parquet("scores.parquet")
    wrong = (samples["kind"] == 1).to_numpy()
    found[cell.glitch] = {
        "wrong": int(wrong.sum()), "samples": len(samples),
        "labels": sorted(set(samples.loc[wrong, "label"])),
        "auroc": auroc(scores["other_classes"].to_numpy(), wrong),
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> dict:
    """What the study of the page finds, with its examples in a copy of the package."""
    root = tmp_path_factory.mktemp("extended")
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(ROOT / "src/glitchtrace", root / "src/glitchtrace", ignore=ignored)
    for path, content in EXAMPLES:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        assert not (root / path).exists(), f"{path} is taken"
        (root / path).write_text(content)
    (root / configuration.SCHEMA).parent.mkdir(parents=True)
    shutil.copy(ROOT / configuration.SCHEMA, root / configuration.SCHEMA)
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=root,
        env={"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1", "HOME": str(root), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_the_page_has_an_example_of_every_kind() -> None:
    assert [path.rpartition("/")[0] for path, _ in EXAMPLES] == [
        "src/glitchtrace/data/datasets",
        "src/glitchtrace/glitches",
        "src/glitchtrace/models",
        "src/glitchtrace/detectors",
        "config/studies",
    ]


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
    assert "* source: https://zenodo.org/record/3239543/files/mnist_c.zip" in text
    assert module.facts("mnist_c_stripe").endswith("`mnist_c.zip`, md5 4b34b33045869ee6d424616cd3a65da3")
