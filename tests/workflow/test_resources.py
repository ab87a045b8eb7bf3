"""What planned jobs ask for: memory, minutes and a graphics card, and what is refused where jobs share no files."""

import re
from pathlib import Path

import pytest
import yaml
from running import ROOT, snakemake

# Rules of the smoke study whose networks run on a device.
ON_A_DEVICE = {"train", "retrain"}
# Rules that take seconds: their time is the profile's.
COSTLY = ON_A_DEVICE | {"fetch_data", "compute_influence", "profile_influence", "detect", "repair_cell"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a default study of its own."""
    (tmp_path / "run/config").mkdir(parents=True)
    (tmp_path / "run/config/config.yaml").write_text((ROOT / "config/config.yaml").read_text())
    return tmp_path / "run"


def asked(folder: Path, device: str) -> dict[str, dict[str, str]]:
    """Rule -> the resources that its first planned job asks for, of the smoke study on a device."""
    default = folder / "config/config.yaml"
    default.write_text(yaml.safe_dump({**yaml.safe_load(default.read_text()), "device": device}))
    study = str(ROOT / "config/studies/smoke.yaml")
    done = snakemake(folder, "--cores", "1", "--dry-run", "--configfile", study)
    blocks = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", done.stdout + done.stderr, re.MULTILINE)
    return {
        rule: dict(re.findall(r"(\w+)=([^,\s]+)", text.partition("resources:")[2].partition("\n")[0]))
        for rule, text in reversed(blocks)
        if "resources:" in text
    }


@pytest.mark.parametrize(("device", "cards"), [("cpu", "0"), ("cuda", "1"), ("auto", "1")])
def test_jobs_whose_networks_run_on_a_device_ask_for_a_card_where_it_is_not_the_cpu(
    device: str, cards: str, folder: Path
) -> None:
    resources = asked(folder, device)
    assert {rule for rule, found in resources.items() if "gpu" in found} == ON_A_DEVICE
    assert {resources[rule]["gpu"] for rule in ON_A_DEVICE} == {cards}
    assert {rule for rule, found in resources.items() if "runtime" in found} == COSTLY
    # Half a minute is what they take at most: an hour and no more than a day are asked for.
    assert all(60 <= int(resources[rule]["runtime"]) <= 1440 for rule in COSTLY)
    memory = {rule: int(found["mem_mb"]) for rule, found in resources.items() if rule != "all"}
    assert min(memory.values()) > 50
    # Jobs on this machine run no Snakemakes around their stages.
    assert memory["detect"] < 300 < memory["train"] < 1000


def test_weights_of_ones_own_are_an_input_of_what_builds_their_network(folder: Path) -> None:
    (folder / "mine.safetensors").touch()
    study = {
        "grid": [
            {"datasets": ["digits"], "models": ["resnet20@mine"], "glitches": ["uniform"]}
            | {"ratios": [0.1], "seeds": [0]}
        ],
        "models": {"resnet20@mine": {"weights": "mine.safetensors"}},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    done = snakemake(folder, "--cores", "1", "--dry-run", "--configfile", "study.yaml")
    text = done.stdout + done.stderr
    reading = {
        rule for rule, files in re.findall(r"^rule (\w+):\n    input: (.*)$", text, re.MULTILINE)
        if "mine.safetensors" in files
    }  # fmt: skip
    assert {"train", "retrain", "compute_influence", "profile_influence"} <= reading
