"""20 Newsgroups: comp.sys.ibm.pc.hardware (label 0) against comp.sys.mac.hardware (label 1).

Headers, footers and quotations removed; TF-IDF without English stop words, of words in 0.1 % to 20 % of the
earlier part, which also gives the vocabulary; both parts pooled.  Source:
docs/methods/sgd-influence.md#tasks.
"""

from pathlib import Path

import numpy as np

from glitchtrace.data.datasets.text import TABLE
from glitchtrace.data.raw_files import locate
from glitchtrace.data.tables import read_frame
from glitchtrace.papers.cleansing.fidelity import Task

KIND = "fidelity_task"
CARD = {
    "label": "20 Newsgroups PC / Mac",
    "summary": "Postings on PC hardware against Mac hardware, as TF-IDF.",
}

_GROUPS = ("comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware")


def load(data_root: Path | None) -> Task:
    """All postings of both groups.  Raises GlitchtraceError where the table is not in the data folder."""
    from sklearn.datasets import _twenty_newsgroups as newsgroups
    from sklearn.feature_extraction.text import TfidfVectorizer

    frame = read_frame(locate(TABLE, data_root))
    frame = frame[frame["newsgroup"].isin(_GROUPS)]
    texts = frame["text"].map(newsgroups.strip_newsgroup_header).map(newsgroups.strip_newsgroup_quoting)
    texts = texts.map(newsgroups.strip_newsgroup_footer)
    weights = TfidfVectorizer(stop_words="english", min_df=0.001, max_df=0.20)
    weights.fit(texts[frame["split"] == "train"])
    labels = (frame["newsgroup"] == _GROUPS[1]).to_numpy(np.int64)
    return Task(weights.transform(texts).toarray().astype(np.float64), labels)
