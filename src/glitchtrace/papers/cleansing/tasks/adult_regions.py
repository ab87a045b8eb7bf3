"""Adult: income above 50,000 dollars (label 1) or not, with the published grouping of categories.

Unknown work class and occupation become a category of their own (without-pay joins never-worked, armed forces
the unknown), the sampling weight its log1p, grades before the 12th one category, and native countries five
regions; all categories become columns of 0 and 1, and both columns of education stay.  Which country belongs
to which region is not in the papers; the lists here are ours.  Source: docs/methods/sgd-influence.md#tasks.
"""

from pathlib import Path

import numpy as np

from glitchtrace.data.datasets.tables import ADULT as TABLE
from glitchtrace.data.raw_files import locate
from glitchtrace.data.tables import read_frame
from glitchtrace.papers.cleansing.fidelity import Task

KIND = "fidelity_task"
CARD = {
    "label": "Adult",
    "summary": "Adult census records, countries grouped in regions, income above 50,000 dollars.",
}

_SCHOOL = ("1st-4th", "5th-6th", "7th-8th", "9th", "10th", "11th", "12th")
_REGIONS = {
    "US": ("United-States", "Cuba", "0"),
    "Western": ("England", "Germany", "Canada", "Italy", "France", "Greece", "Philippines"),
    "Poor": (
        "Mexico",
        "Puerto-Rico",
        "Honduras",
        "Jamaica",
        "Columbia",
        "Laos",
        "Portugal",
        "Haiti",
        "Dominican-Republic",
        "El-Salvador",
        "Guatemala",
        "Peru",
        "Trinadad&Tobago",
        "Outlying-US(Guam-USVI-etc)",
        "Nicaragua",
        "Vietnam",
        "Holand-Netherlands",
    ),
    "Eastern": ("India", "Iran", "Cambodia", "Taiwan", "Japan", "Yugoslavia", "China", "Hong"),
    "Poland team": ("South", "Poland", "Ireland", "Hungary", "Scotland", "Thailand", "Ecuador"),
}
_UNKNOWN = "0"
_MERGED = {
    "workclass": {"Without-pay": "Never-worked"},
    "education": dict.fromkeys(_SCHOOL, "Primary"),
    "marital-status": {"Married-AF-spouse": "Married-civ-spouse"},
    "occupation": {"Armed-Forces": _UNKNOWN},
    "native-country": {name: region for region, names in _REGIONS.items() for name in names},
}


def load(data_root: Path | None) -> Task:
    """All 48,842 records.  Raises GlitchtraceError where the table is not in the data folder."""
    import pandas as pd

    frame = read_frame(locate(TABLE, data_root)).drop(columns="split")
    labels = (frame.pop("class") == ">50K").to_numpy(np.int64)
    categories = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    for name in categories:
        merged = _MERGED.get(str(name), {})
        frame[name] = frame[name].astype(object).fillna(_UNKNOWN).replace(merged)
    frame["fnlwgt"] = np.log1p(frame["fnlwgt"].astype(float))
    return Task(pd.get_dummies(frame, columns=categories, dtype=float).to_numpy(np.float64), labels)
