"""Binary tasks of the fidelity study.

Source: docs/methods/sgd-influence.md#tasks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glitchtrace.data.datasets.idx import load_mnist
from glitchtrace.data.datasets.tables import ADULT
from glitchtrace.data.datasets.text import TABLE as NEWSGROUPS
from glitchtrace.data.raw_files import locate
from glitchtrace.data.tables import read_frame

KIND = "fidelity_task"
CARDS = {
    "mnist_1_7": {"label": "MNIST 1 / 7", "summary": "MNIST digits 1 against 7, pixels in [0, 1]."},
    "newsgroups_pc_mac": {
        "label": "20 Newsgroups PC / Mac",
        "summary": "Postings on PC hardware against Mac hardware, as TF-IDF.",
    },
    "adult_regions": {
        "label": "Adult",
        "summary": "Adult census records, countries grouped in regions, income above 50,000 dollars.",
    },
    "digits_3_8": {
        "label": "digits 3 / 8",
        "summary": "Digits 3 against 8, shipped with scikit-learn, pixels in [0, 1].",
    },
}


@dataclass(frozen=True)
class Task:
    """All samples of a binary task: ``features`` (N, d) float64, ``labels`` (N,) in {0, 1}."""

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class FidelityTask:
    """A member of the family: the task from the data folder."""

    load: Callable[[Path | None], Task]


_ROWS, _ONE_SEVEN = 55_000, (1, 7)


def mnist_1_7(data_root: Path | None) -> Task:
    """MNIST digits 1 (label 0) against 7 (label 1), pixels in [0, 1], from the first 55,000 training pictures."""
    pool = load_mnist(data_root)
    labels = pool.labels[:_ROWS]
    chosen = np.isin(labels, _ONE_SEVEN)
    features = pool.features[:_ROWS][chosen].reshape(int(chosen.sum()), -1) / 255
    return Task(features, (labels[chosen] == _ONE_SEVEN[1]).astype(np.int64))


_GROUPS = ("comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware")


def newsgroups_pc_mac(data_root: Path | None) -> Task:
    """20 Newsgroups: comp.sys.ibm.pc.hardware (label 0) against comp.sys.mac.hardware (label 1).

    Headers, footers and quotations removed; TF-IDF without English stop words, of words in 0.1 % to 20 % of the
    earlier part, which also gives the vocabulary; both parts pooled.  Raises GlitchtraceError where the table is not
    in the data folder.
    """
    from sklearn.datasets import _twenty_newsgroups as newsgroups
    from sklearn.feature_extraction.text import TfidfVectorizer

    frame = read_frame(locate(NEWSGROUPS, data_root))
    frame = frame[frame["newsgroup"].isin(_GROUPS)]
    texts = frame["text"].map(newsgroups.strip_newsgroup_header).map(newsgroups.strip_newsgroup_quoting)
    texts = texts.map(newsgroups.strip_newsgroup_footer)
    weights = TfidfVectorizer(stop_words="english", min_df=0.001, max_df=0.20)
    weights.fit(texts[frame["split"] == "train"])
    labels = (frame["newsgroup"] == _GROUPS[1]).to_numpy(np.int64)
    return Task(weights.transform(texts).toarray().astype(np.float64), labels)


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


def adult_regions(data_root: Path | None) -> Task:
    """Adult: income above 50,000 dollars (label 1) or not, all 48,842 records, with the published grouping.

    Unknown work class and occupation become a category of their own (without-pay joins never-worked, armed forces
    the unknown), the sampling weight its log1p, grades before the 12th one category, and native countries five
    regions; all categories become columns of 0 and 1, and both columns of education stay.  Which country belongs
    to which region is not in the papers; the lists here are ours.  Raises GlitchtraceError where the table is not in
    the data folder.
    """
    import pandas as pd

    frame = read_frame(locate(ADULT, data_root)).drop(columns="split")
    labels = (frame.pop("class") == ">50K").to_numpy(np.int64)
    categories = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    for name in categories:
        merged = _MERGED.get(str(name), {})
        frame[name] = frame[name].astype(object).fillna(_UNKNOWN).replace(merged)
    frame["fnlwgt"] = np.log1p(frame["fnlwgt"].astype(float))
    return Task(pd.get_dummies(frame, columns=categories, dtype=float).to_numpy(np.float64), labels)


_THREE_EIGHT = (3, 8)
_INK = 16  # the largest pixel value


def digits_3_8(data_root: Path | None) -> Task:
    """Digits 3 (label 0) against 8 (label 1) of scikit-learn, without any download: not published.

    Of 357 samples a third goes into each part.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    chosen = np.isin(bunch.target, _THREE_EIGHT)
    return Task(bunch.data[chosen] / _INK, (bunch.target[chosen] == _THREE_EIGHT[1]).astype(np.int64))


COMPONENTS = {
    "mnist_1_7": FidelityTask(mnist_1_7),
    "newsgroups_pc_mac": FidelityTask(newsgroups_pc_mac),
    "adult_regions": FidelityTask(adult_regions),
    "digits_3_8": FidelityTask(digits_3_8),
}
