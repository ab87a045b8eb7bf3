"""20 Newsgroups: postings of twenty discussion groups, as TF-IDF weights reduced to 100 dimensions."""

import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.pool import Pool, Reader
from glitchtrace.data.raw_files import RawFile, find, locate
from glitchtrace.data.tables import check_columns, read_frame

KIND = "dataset"
CARDS = {
    "newsgroups": {
        "summary": "Postings of 20 newsgroups, split by date: TF-IDF reduced by SVD to 100 columns.",
        "modality": "table",
        "classes": 20,
        "rows": {"train": 11314, "test": 7532},
        "shape": [100],
        "licence": "none stated",
        "citation": "Lang: NewsWeeder: learning to filter netnews, ICML 1995",
        "source": "https://ndownloader.figshare.com/files/5975967",
    },
}

TABLE = RawFile(
    "text/20newsgroups_bydate.parquet",
    "sha256:7f6206ef0a5ce4d04a240b7d3ae6f6808ca0897778afee2bedadd2b67ebdb9fa",
)
ARCHIVE = RawFile(
    "20news-bydate.tar.gz", "sha256:8f1b2514ca22a5ade8fbb9cfa5727df95fa587f4c87b786e15c759fa66d95610"
)
# Where scikit-learn takes it from.
ADDRESS = "https://ndownloader.figshare.com/files/5975967"

DIMENSIONS = 100


def load_newsgroups(data_root: Path | None) -> Pool:
    """All 18,846 postings, the earlier ones (training part) first, in scikit-learn's order of each part.

    Headers, footers and quotations are kept.  Vocabulary, document frequencies and singular vectors are those
    of the training part, see ``reduce``.
    """
    table = find(TABLE, data_root)
    if table:
        raw = TABLE
        frame = read_frame(table)
        check_columns(frame, ("split", "newsgroup", "text"), raw.path)
        parts = {
            part: (rows["text"].tolist(), rows["newsgroup"].tolist())
            for part, rows in frame.groupby("split", sort=False)
        }
    else:
        raw = ARCHIVE
        path = locate(raw, data_root, lambda: [ADDRESS])
        parts = {part: read_postings(path, f"20news-bydate-{part}") for part in ("train", "test")}
    texts, groups = zip(*(parts[part] for part in ("train", "test")), strict=True)
    names = sorted(set(groups[0]))
    numbers = {name: number for number, name in enumerate(names)}
    count = len(texts[0])
    return Pool(
        features=np.concatenate(reduce(*texts)),
        labels=np.array([numbers[name] for name in (*groups[0], *groups[1])], dtype=np.int64),
        class_names=tuple(names),
        parts={"train": (0, count), "test": (count, count + len(texts[1]))},
        columns=tuple(f"svd{number}" for number in range(1, DIMENSIONS + 1)),
        checksums={raw.path: raw.checksum},
    )


def reduce(train: Sequence[str], test: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Texts as float32 (n, 100): the coordinates of their TF-IDF rows along the first right singular vectors.

    TF-IDF: lower-case words of two letters and more that are no English stop words, occur in two training texts
    at least and in half of them at most; the weight is (1 + ln count)·(1 + ln((1 + N)/(1 + documents))), and
    rows have unit norm.  Everything is fitted on ``train``.  The sign of a singular vector makes its largest
    entry positive, and ARPACK starts from a fixed vector, so the same texts give the same numbers.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    weights = TfidfVectorizer(sublinear_tf=True, stop_words="english", min_df=2, max_df=0.5)
    rows = weights.fit_transform(train)
    svd = TruncatedSVD(DIMENSIONS, algorithm="arpack", random_state=0)
    svd.fit(rows)
    return tuple(svd.transform(part).astype(np.float32) for part in (rows, weights.transform(test)))


def read_postings(path: Path, folder: str) -> tuple[list[str], list[str]]:
    """Texts and groups of one folder of the official archive, which is read without being unpacked.

    The order is that of scikit-learn's ``fetch_20newsgroups``: sorted by group and file, then shuffled twice,
    when it builds its cache (seed 0) and when it returns the part (seed 42).  Bytes are read as Latin-1.  Raises
    GlitchtraceError where the archive cannot be read or has no such folder.
    """
    found = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.isfile() and member.name.startswith(f"{folder}/"):
                    _, group, file = member.name.split("/")
                    found[group, file] = archive.extractfile(member).read().decode("latin1")  # type: ignore[union-attr]
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        raise GlitchtraceError(
            f"{path}: not the official archive ({error}); replace it by the original"
        ) from None
    if not found:
        raise GlitchtraceError(f"{path}: it has no folder {folder}; replace it by the original")
    keys = sorted(found)
    for seed in (0, 42):
        order = np.arange(len(keys))
        np.random.RandomState(seed).shuffle(order)
        keys = [keys[position] for position in order]
    return [found[key] for key in keys], [group for group, _ in keys]


COMPONENTS = {"newsgroups": Reader(load_newsgroups, (TABLE, ARCHIVE))}
