"""Labels that people gave to the training pictures of CIFAR-10: the five sets of CIFAR-10N."""

import os
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


def fetch_annotations(*, annotations: str | Path, data_root: str | Path | None = None) -> None:
    """Stage function of the rule ``fetch_annotations``: one row per training picture, one column per set of labels.

    ``data_root``: as in ``fetch_data``.  Raises GlitchtraceError where the file is missing or altered.
    """
    root = data_root or os.environ.get("GLITCHTRACE_DATA")
    path = locate(CIFAR10N, Path(root).expanduser() if root else None)
    columns = dict(zip(ARRAYS, read_arrays(path, list(ARRAYS.values())), strict=True))
    files.write_parquet(pd.DataFrame(columns).astype(np.int64), annotations)


def labels_of_rows(annotations: pd.DataFrame, rows: np.ndarray, own: np.ndarray, name: str) -> np.ndarray:
    """The labels (n,) int64 of the set ``name`` for rows of the training part; ``own``: the dataset's labels there.

    Raises GlitchtraceError where a row has no annotation, or where the official labels are not the dataset's own:
    then it is not in the official order.
    """
    if rows.max() >= len(annotations):
        raise GlitchtraceError(
            f"row {rows.max()} has no human label: the {len(annotations)} training pictures of CIFAR-10 have; "
            "leave validation_source at test_split"
        )
    chosen = annotations.iloc[rows]
    if (chosen["clean"].to_numpy() != own).any():
        raise GlitchtraceError(
            "the official labels of the human annotations are not those of the dataset, which must be CIFAR-10 in "
            "its official order"
        )
    return chosen[name].to_numpy(np.int64)
