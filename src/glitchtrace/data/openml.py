"""Tables of OpenML, by scikit-learn's client, which checks the digest that OpenML states."""

from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.raw_files import cache_folder

if TYPE_CHECKING:
    import pandas as pd


def fetch_frame(name: str, data_id: int, data_root: Path | None) -> tuple["pd.DataFrame", dict[str, str]]:
    """The table of an OpenML dataset with its label column, and its checksum.

    It is kept in the folder ``openml`` of the data folder, else of the cache folder.  Raises GlitchtraceError
    where it is not there and cannot be had.
    """
    from sklearn.datasets import fetch_openml

    folder = data_root or cache_folder()
    try:
        bunch = fetch_openml(data_id=data_id, data_home=str(folder), as_frame=True, parser="pandas")
    except (OSError, ValueError, HTTPException) as error:
        reason = " ".join(str(error).split())
        raise GlitchtraceError(
            f"{name} (OpenML {data_id}) is not in {folder / 'openml'}, and its download failed ({reason}); fetch it "
            "where there is a network, and set data_root (GLITCHTRACE_DATA) to the folder that has it"
        ) from None
    return bunch.frame, {f"openml/{data_id}": f"md5:{bunch.details['md5_checksum']}"}


def fetch_arrays(name: str, identifier: int, data_root: Path | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Features float32 (N, d), labels (N,) as text and "openml:identifier" of an OpenML dataset.

    Downloaded into the data folder by scikit-learn.  Raises GlitchtraceError where that fails.
    """
    from sklearn.datasets import fetch_openml

    home = (data_root or cache_folder()) / "openml"
    try:
        bunch = fetch_openml(data_id=identifier, data_home=str(home), as_frame=False, parser="liac-arff")
    except (OSError, ValueError) as error:
        raise GlitchtraceError(
            f"OpenML's dataset {identifier} cannot be had ({' '.join(str(error).split())}); put the libsvm file "
            f"{name} into LIBSVM of the data folder (GLITCHTRACE_DATA)"
        ) from None
    features = bunch.data.toarray() if hasattr(bunch.data, "toarray") else bunch.data
    return features.astype(np.float32), np.asarray(bunch.target).astype(str), f"openml:{identifier}"
