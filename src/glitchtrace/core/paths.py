"""Where every file lies: path templates and wildcard patterns, used by rules, library and tests.

Templates carry wildcards and Snakemake's path variables: ``<results>``, ``<study>``, ``<detectors>``, ``<policies>``,
``<truth>``, ``<logs>``.
``<results>`` is the results folder; ``<study>`` is the same folder for the default configuration, one of its own
for a named study, so that two studies share their cells and never overwrite each other's summaries.
"""

import re
import zlib
from collections.abc import Mapping, Sequence

from glitchtrace.core.errors import GlitchtraceError

NAME = r"[a-z][a-z0-9_]*(?:@[a-z0-9_]+)?"

# ``clean`` = no glitch injected; ``native`` = the glitch itself fixes its ratio (a mixture, real noise).
WILDCARDS = {
    "source": NAME,
    "annotation": NAME,
    "backbone": r"[a-z][a-z0-9_]*-[0-9a-f]{12}",
    # Beside the datasets of a study lies its folder cleansing, which has a cost.parquet and gain.parquet, too.
    "dataset": rf"(?!cleansing/){NAME}",
    "model": NAME,
    "glitch": NAME,
    "ratio": r"0\.\d+|clean|native",
    "seed": r"\d+",
    "estimator": NAME,
    "learner": NAME,
    "relabelling": NAME,
    "selection": NAME,
    "protocol": NAME,
    "loop": NAME,
    "retrained": r"all|last",
    "task": NAME,
    "network": r"[a-z][a-z0-9_]*",
    "noise": NAME,
    "inspector": NAME,
    "threshold": r"\d+(?:\.\d+)?",
    "negotiator": NAME,
    "repeat": r"\d+",
    "refit": r"training|optimum",
    "question": r"[a-z][a-z0-9]*",
    "panels": r"[a-z]+",
}

_SOURCE = "<results>/sources/{source}"
SOURCE_FEATURES = f"{_SOURCE}/features.npy"
SPARSE_FEATURES = f"{_SOURCE}/features.npz"
SOURCE_LABELS = f"{_SOURCE}/labels.npy"
SOURCE_DESCRIPTION = f"{_SOURCE}/source.json"
ANNOTATIONS = "<results>/sources/annotations/{annotation}/labels.parquet"

SPLIT = "<results>/{dataset}/seed-{seed}/split.parquet"
GLITCH = "<results>/{dataset}/{glitch}-{ratio}/seed-{seed}/glitch.parquet"

# Features of a frozen backbone, kept per picture; {backbone} is the model's base name with the digest of what the
# features depend on.
FEATURE_STORE = "<results>/features/{source}/{backbone}"
# What cells that differ in labels alone leave to each other while a run lasts.
SHARED = "<results>/shared"
TEST_FEATURES = "<results>/{dataset}/{model}/seed-{seed}/test_features.json"

TRAINING = "<results>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}"
FEATURES = f"{TRAINING}/features.json"
CHECKPOINTS = f"{TRAINING}/checkpoints.safetensors"
FACTORS = f"{TRAINING}/factors.safetensors"
HISTORY = f"{TRAINING}/history.parquet"
OUT_OF_FOLD = f"{TRAINING}/out_of_fold.safetensors"

CELL = f"{TRAINING}/{{estimator}}"
INFLUENCE = f"{CELL}/influence.npy"
PROFILE = f"{CELL}/profile.safetensors"
EPOCHS = f"{CELL}/epochs.parquet"
# Truth by retraining, and how well an estimator foretells it; <truth> holds the numbers of trainings.
TRUTH = f"{TRAINING}/<truth>/truth.safetensors"
TRUTH_MEASURES = f"{CELL}/<truth>/truth.parquet"
# What depends on the choice of policies or of detectors; the default choice lies in the cell's own folder.
REPAIR = f"{CELL}<policies>"
REPAIRED = f"{REPAIR}/repaired.parquet"
GAIN = f"{REPAIR}/gain.parquet"
SCORED = f"{CELL}<detectors>"
SCORES = f"{SCORED}/scores.parquet"
NUMBERS = f"{SCORED}/numbers.parquet"
METRICS = f"{SCORED}/metrics.parquet"
COST = f"{SCORED}/cost.parquet"

RDIA = "<results>/{dataset}/{learner}/{glitch}-{ratio}/seed-{seed}/rdia"
RDIA_INFLUENCE = f"{RDIA}/influence.parquet"
RDIA_FIT = f"{RDIA}/fit.safetensors"
RDIA_CELL = f"{RDIA}/{{relabelling}}"
RDIA_REPAIRED = f"{RDIA_CELL}/repaired.parquet"
RDIA_GAIN = f"{RDIA_CELL}/gain.parquet"
RDIA_SUMMARY = "<study>/rdia.parquet"

RDIA_LS_CELL = f"{TRAINING}/rdia_ls/{{selection}}"
RDIA_LS_HISTORY = f"{RDIA_LS_CELL}/history.parquet"
RDIA_LS_SUMMARY = "<study>/rdia_ls.parquet"
# Data cleansing: the recorded training is shared by all studies, what is removed is the study's own.
RECORDED = f"{TRAINING}/cleansing/{{protocol}}"
TRACE = f"{RECORDED}/trace.safetensors"
SNAPSHOTS = f"{RECORDED}/snapshots.npy"
CLEANSED = "<study>/cleansing/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{protocol}"
CLEANSING_SCORES = f"{CLEANSED}/scores.parquet"
CLEANSING_SCOPES = f"{CLEANSED}/influence.safetensors"
CLEANSING_COST = f"{CLEANSED}/cost.parquet"
REMOVAL = f"{CLEANSED}/removal-{{retrained}}.parquet"
CLEANSING = "<study>/cleansing/removal.parquet"
CLEANSING_COSTS = "<study>/cleansing/cost.parquet"
CLEANSING_GAIN = "<study>/cleansing/gain.parquet"
FIDELITY_CELL = "<study>/fidelity/{task}/{network}.parquet"
FIDELITY = "<study>/fidelity/fidelity.parquet"
LOOP = (
    "<results>/{dataset}/{model}/cincer/{loop}/{noise}-{ratio}/{inspector}-{threshold}/{negotiator}"
    "/seed-{seed}/repeat-{repeat}"
)
LOOP_TRACE = f"{LOOP}/trace.parquet"
LOOP_QUESTIONS = f"{LOOP}/questions.parquet"
LOOP_CHANGES = (
    "<study>/{dataset}/cincer/{model}/leave-one-out/{loop}/{noise}-{ratio}/{refit}"
    "/seed-{seed}/repeat-{repeat}.parquet"
)

DATASET_SUMMARY = "<study>/{dataset}/summary.parquet"
DATASET_GAIN = "<study>/{dataset}/gain.parquet"
DATASET_COST = "<study>/{dataset}/cost.parquet"
SUMMARY = "<study>/summary.parquet"
COMPARISON = "<study>/comparison.parquet"
TRUTH_SUMMARY = "<study>/truth.parquet"
STUDY_GAIN = "<study>/gain.parquet"
FINDINGS = "<study>/findings.html"
STUDY_COST = "<study>/cost.parquet"
LOOP_TRACES = "<study>/{dataset}/cincer/{model}/traces.parquet"
LOOP_SUMMARY = "<study>/cincer.parquet"
LOOP_INFLUENCE = "<study>/cincer_influence.parquet"

# Folders of <results> that are not datasets.
RESERVED = (
    "sources",
    "features",
    "shared",
    "studies",
    "figures",
    "tables",
    "logs",
    "benchmarks",
    "weights",
    "settings",
    "cleansing",
)


def record(output: str, stage: str) -> str:
    """The job record (parameters, versions, cost) that lies beside an output of ``stage``."""
    return f"{output.rpartition('/')[0]}/{stage}.json"


def fill(
    template: str,
    *,
    results: str = "results",
    study: str | None = None,
    detectors: str | Sequence[str] = "default",
    policies: str | Sequence[str] = "default",
    truth: str = "truth-40-100",
    **wildcards: object,
) -> str:
    """A template with its path variables and wildcards filled in.

    ``study`` is the name of a study, None for the default configuration; ``detectors`` and ``policies`` its choices,
    ``truth`` the folder of its retraining.
    Raises GlitchtraceError for a wildcard value that its pattern refuses: such a name could leave the results folder.
    """
    for name, value in wildcards.items():
        if name in WILDCARDS and not re.fullmatch(WILDCARDS[name], str(value)):
            raise GlitchtraceError(f"{name} '{value}' is not a legal name; it must match {WILDCARDS[name]}")
    values = {
        "<study>": study_folder(study),
        "<detectors>": choice_folder(detectors),
        "<policies>": choice_folder(policies, "repair-"),
        "<truth>": truth,
        "<logs>": "<results>/logs",
        "<results>": results,
    }
    path = template
    for name, value in values.items():
        path = path.replace(name, value)
    return path.format(**wildcards)


def study_folder(study: str | None) -> str:
    """The folder of a study's summaries and figures."""
    return f"<results>/studies/{study}" if study else "<results>"


def choice_folder(
    choice: str | Sequence[str], prefix: str = "", beside: str | Sequence[str] = "default"
) -> str:
    """What is added to a cell's folder for another choice of detectors, or of policies, than the default.

    Studies of one choice share its files; two choices never write to one path.  ``beside``: a choice of another kind
    that the same files depend on.
    """
    names = [choice] if isinstance(choice, str) else sorted(set(choice))
    others = [beside] if isinstance(beside, str) else sorted(set(beside))
    if others != ["default"]:
        names = [*names, "beside", *others]
    if names == ["default"]:
        return ""
    return f"+{prefix}all" if names == ["all"] else f"+{prefix}{zlib.crc32(' '.join(names).encode()):08x}"


def truth_folder(chosen: Mapping[str, int]) -> str:
    """The folder of the truth by retraining, by how many ``subsets`` and single samples (``left_out``) are left out."""
    return f"truth-{chosen['subsets']}-{chosen['left_out']}"


def audit_name(data: str) -> str:
    """A legal name of a folder made from the name of a file or folder."""
    last = data.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return re.sub(r"[^a-z0-9_]+", "_", last.partition(".")[0].lower()).strip("_")[:60] or "data"


def ending(data: str) -> str:
    """The ending of cleaned data: that of a table, ``.csv`` for a folder of pictures and for arrays."""
    found = re.search(r"\.(csv|tsv|txt|tab|parquet|feather|arrow)(\.gz)?$", data.lower())
    return found[0] if found else ".csv"


def audit_files(data: str, name: str | None = None) -> dict[str, str]:
    """What the audit of a file or folder writes: output -> path."""
    folder = f"<results>/audit/{name or audit_name(data)}"
    return {
        "issues": f"{folder}/issues.parquet",
        "table": f"{folder}/issues.csv",
        "summary": f"{folder}/summary.json",
        "gain": f"{folder}/gain.json",
        "page": f"{folder}/report.html",
        "cleaned": f"{folder}/cleaned{ending(data)}",
    }
