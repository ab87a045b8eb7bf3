"""Labels that people gave to pictures and postings, beside the official ones.

CIFAR-10N: five sets of labels of CIFAR-10's training pictures, wrong where they differ from the official ones.
CIFAR-10H and the checked label errors look the other way: people say which official labels of a test part are wrong.
"""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.raw_files import RawFile, locate, read_arrays

# Wei et al.: Learning with noisy labels revisited, ICLR 2022; CC BY-NC 4.0. Official order of the training part.
CIFAR10N = RawFile(
    "labels/cifar10n_human_labels.npz",
    "sha256:6024485a143efa682792c21d7f2adfdef5a374dce699bb2fcd4d62cd55cc4852",
)
# Name of the set -> array in the file. ``clean`` are the official labels.
ARRAYS = {
    "clean": "clean_label",
    "aggregate": "aggre_label",
    "worst": "worse_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
}
# Peterson et al.: Human uncertainty makes classification more robust, ICCV 2019; CC BY-NC-SA 4.0. About 51 votes for
# each test picture of CIFAR-10, official order.
CIFAR10H = RawFile(
    "labels/cifar10h_human_counts.npz",
    "sha256:570197342c80aec1eace9b645afeeaae986fff041c0a0db7171b1325efea2fcd",
)
# Northcutt, Athalye, Mueller: Pervasive label errors in test sets, NeurIPS 2021; Apache-2.0. Five votes for each label
# that confident learning suspects; official order of the test part.
CHECKED = {
    "mnist_checked": (
        RawFile(
            "labels/label_errors/mnist_mturk.json",
            "sha256:17c23adc025849b1924da8289cb5d73996363cc7bcf9354e8a0b71c36c582cbb",
        ),
        RawFile(
            "labels/label_errors/mnist_test_cv_probs.npz",
            "sha256:ab6db52826a9f0b8d9e2aac4b948bc29ebe073b718626f22f9306847241585df",
        ),
    ),
    "cifar10_checked": (
        RawFile(
            "labels/label_errors/cifar10_mturk.json",
            "sha256:1f8652b349a31e3e811833c59ac1f70c63d2bd67a966a1a9ef8154d63d872174",
        ),
        RawFile(
            "labels/label_errors/cifar10_test_cv_probs.npz",
            "sha256:857bd48cf327af33cbca759ed29e05c57725228f12f2305aa438a226e65f048c",
        ),
    ),
    "newsgroups_checked": (
        RawFile(
            "labels/label_errors/20news_mturk.json",
            "sha256:2ed112e04686839fed26f7a7c1670ae7f434aaf82ada8ada759e829aa44acb11",
        ),
        RawFile(
            "labels/label_errors/20news_test_cv_probs.npz",
            "sha256:1ff9c18c7340a51f424c1d1008b78c4bbb8d7602ab8f8de947b4668aeaa716d3",
        ),
    ),
}
AGREED = 3  # of five votes that keep a label


def fetch_annotations(
    *, annotations: str | Path, name: str = "cifar10n", data_root: str | Path | None = None
) -> None:
    """Stage function of the rule ``fetch_annotations``: one row per row of the source, one column per set of labels.

    ``clean`` are the labels that the dataset itself has.  ``data_root``: as in ``fetch_data``.  Raises GlitchtraceError
    where a file is missing or altered.
    """
    root = data_root or os.environ.get("GLITCHTRACE_DATA")
    table = SETS[name](Path(root).expanduser() if root else None)
    files.write_parquet(table.astype(np.int64), annotations)


def human_sets(data_root: Path | None) -> pd.DataFrame:
    """The five sets of CIFAR-10N beside the official labels."""
    path = locate(CIFAR10N, data_root)
    return pd.DataFrame(dict(zip(ARRAYS, read_arrays(path, list(ARRAYS.values())), strict=True)))


def majority(data_root: Path | None) -> pd.DataFrame:
    """CIFAR-10H: the class that most people chose, and the official label, which stays where the votes are tied."""
    votes, official = read_arrays(locate(CIFAR10H, data_root), ["counts", "labels"])
    rows = np.arange(len(official))
    outvoted = votes.max(axis=1) > votes[rows, official]
    return pd.DataFrame({"clean": np.where(outvoted, votes.argmax(axis=1), official), "official": official})


def checked(name: str, data_root: Path | None) -> pd.DataFrame:
    """Checked label errors: a label that fewer than three of five people keep gives way to the suspected one.

    Only suspects were shown to people: a label that is no suspect counts as right, which favours detectors near to
    confident learning, and where people chose neither or both the suspected label is a guess.
    """
    suspects, originals = CHECKED[name]
    path = locate(suspects, data_root)
    (official,) = read_arrays(locate(originals, data_root), ["original_labels"])
    official = official.astype(np.int64)
    clean = official.copy()
    for suspect in json.loads(path.read_text(encoding="utf-8")):
        row = int(suspect["id"])
        if official[row] != int(suspect["given_original_label"]):
            raise GlitchtraceError(
                f"{path}: row {row} has the official label {official[row]}, not "
                f"{suspect['given_original_label']}; replace it by the original"
            )
        if int(suspect["mturk"]["given"]) < AGREED:
            clean[row] = int(suspect["our_guessed_label"])
    return pd.DataFrame({"clean": clean, "official": official})


SETS: dict[str, Callable[[Path | None], pd.DataFrame]] = {
    "cifar10n": human_sets,
    "cifar10h": majority,
    **{name: partial(checked, name) for name in CHECKED},
}


def labels_of_rows(annotations: pd.DataFrame, rows: np.ndarray, own: np.ndarray, name: str) -> np.ndarray:
    """The labels (n,) int64 of the set ``name`` for rows of the source; ``own``: the dataset's labels there.

    Raises GlitchtraceError where a row has no annotation, or where the official labels are not the dataset's own:
    then it is not in the official order.
    """
    if rows.max() >= len(annotations):
        raise GlitchtraceError(
            f"row {rows.max()} has no human label: the first {len(annotations)} rows of the source have; "
            "leave validation_source at test_split"
        )
    chosen = annotations.iloc[rows]
    if (chosen["clean"].to_numpy() != own).any():
        raise GlitchtraceError(
            "the labels beside the human annotations are not those of the dataset, which must be in its official order"
        )
    return chosen[name].to_numpy(np.int64)
