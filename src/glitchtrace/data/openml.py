"""Tables of OpenML, by scikit-learn's client, which checks the digest that OpenML states."""

from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.raw_files import cache_folder

if TYPE_CHECKING:
    import pandas as pd


def fetch_frame(name: str, data_id: int, data_root: Path | None) -> tuple["pd.DataFrame", dict[str, str]]:
    """The table of an OpenML dataset with its label column, and its checksum.

    Raises GlitchtraceError where it is not at hand and cannot be had.
    """
    remedy = (
        "fetch it where there is a network, and set data_root (GLITCHTRACE_DATA) to the folder that has it"
    )
    bunch = _fetched(name, data_id, data_root, remedy, as_frame=True, parser="pandas")
    return bunch.frame, {f"openml/{data_id}": f"md5:{bunch.details['md5_checksum']}"}


def fetch_arrays(name: str, data_id: int, data_root: Path | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Features float32 (N, d), labels (N,) as text and "openml:data_id" of what else is the libsvm file ``name``.

    Raises GlitchtraceError where it is not at hand and cannot be had.
    """
    remedy = f"put the libsvm file {name} into LIBSVM of the data folder (GLITCHTRACE_DATA)"
    bunch = _fetched(name, data_id, data_root, remedy, as_frame=False, parser="liac-arff")
    features = bunch.data.toarray() if hasattr(bunch.data, "toarray") else bunch.data
    return features.astype(np.float32), np.asarray(bunch.target).astype(str), f"openml:{data_id}"


def _fetched(name: str, data_id: int, data_root: Path | None, remedy: str, **form: Any) -> Any:
    """What scikit-learn's client has in the folder ``openml`` of the data folder, else of the cache folder."""
    from sklearn.datasets import fetch_openml

    folder = data_root or cache_folder()
    try:
        return fetch_openml(data_id=data_id, data_home=str(folder), **form)
    except (OSError, ValueError, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise GlitchtraceError(
            f"{name} (OpenML {data_id}) is not in {folder / 'openml'}, and its download failed ({reason}); {remedy}"
        ) from None
