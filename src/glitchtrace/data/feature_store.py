"""A folder of features, one vector per picture, that grows as pictures are asked for.

Which picture a sample is: its source and row, and the corruption where it has one.  Identities are tables of the
columns ``source``, ``row``, ``corruption`` (empty for none) and ``severity``, one row per picture; they are read as
sample tables by ``data.sources``.

``store.json`` says what the features are; ``shard-{k}.safetensors`` holds those of the pictures whose row modulo
the number of shards is k: for each ``form`` of picture the sorted ``{form}/rows`` (r,) and
``{form}/features`` (r, d).  A shard is replaced as a whole, so that a reader sees features of some pictures or of
more; the same pictures give the same bytes in whatever order they were added.

Several jobs may fill a store at the same time: the lock of a shard is held while its missing pictures are
extracted, and a job that finds a lock taken goes on with another shard.  Locks are the system's (POSIX record
locks) and end with their process.
"""

import fcntl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from glitchtrace.core import files, paths
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.preprocess import Inputs

if TYPE_CHECKING:
    import torch

# Seconds of extraction after which a shard is written: what a killed job may lose.
FLUSH_SECONDS = 60.0

# What a head is trained on, and the only representation of most networks.
PENULTIMATE = "penultimate"

Shard = dict[str, tuple[np.ndarray, np.ndarray]]


def of_samples(table: pd.DataFrame) -> pd.DataFrame:
    """The identities of the samples of a sample table, in its order."""
    corrupted = "corruption" in table
    return pd.DataFrame(
        {
            "source": table["source"].to_numpy(),
            "row": table["row"].to_numpy(np.int64),
            "corruption": table["corruption"].to_numpy() if corrupted else "",
            "severity": table["severity"].to_numpy(np.int64) if corrupted else 0,
        }
    )


def of_rows(source: str, rows: np.ndarray) -> pd.DataFrame:
    """The identities of rows of one source."""
    return of_samples(pd.DataFrame({"source": source, "row": np.asarray(rows, dtype=np.int64)}))


def form(pictures: pd.DataFrame) -> np.ndarray:
    """What a picture is beside its row, one name per picture (n,): ``mnist``, or ``mnist@stripe-3`` if corrupted."""
    source, corruption = pictures["source"].astype(str), pictures["corruption"].astype(str)
    corrupted = source + "@" + corruption + "-" + pictures["severity"].astype(str)
    return corrupted.where(corruption != "", source).to_numpy(dtype=str)


def columns(widths: Mapping[str, int] | None, width: int) -> dict[str, slice]:
    """Representation -> its columns among ``width`` features; all are ``penultimate`` where none are named."""
    widths = widths or {PENULTIMATE: width}
    ends = np.cumsum([0, *widths.values()]).tolist()
    return {name: slice(*ends[at : at + 2]) for at, name in enumerate(widths)}


class FeatureStore:
    """The store in ``folder``, spread over ``shards`` files."""

    def __init__(self, folder: str | Path, shards: int) -> None:
        self.folder = Path(folder)
        self.shards = shards

    @classmethod
    def named(cls, host: str | Path, stored: str | Path) -> "FeatureStore":
        """The store that the file ``stored`` of a cell names; ``host``: the stored pictures of the cell's dataset."""
        manifest = files.read_record(stored)
        return cls(folder(host, manifest["store"]), manifest["shards"])

    @cached_property
    def description(self) -> dict[str, Any]:
        """What the features are, among it ``width``, the length d of a vector, and ``widths`` of representations.

        Raises GlitchtraceError where the store has not been made, or by another version.
        """
        if not (self.folder / "store.json").is_file():
            raise GlitchtraceError(self._lacks("all"))
        return files.read_record(self.folder / "store.json")

    def describe(self, make: Callable[[], Mapping[str, Any]]) -> None:
        """Write the description that ``make`` returns, unless the store has one."""
        with self._locked("store.lock"):
            if not (self.folder / "store.json").is_file():
                files.write_record(make(), self.folder / "store.json")

    def fill(self, pictures: pd.DataFrame, extract: Callable[[pd.DataFrame], Iterator[np.ndarray]]) -> int:
        """Add the features of those pictures that the store lacks; returns how many these were.

        ``pictures``: identities; a picture may be named several times.  ``extract`` gives the
        features (b, d) of the pictures given to it, in their order and in blocks.  Raises GlitchtraceError where
        the file system has no locks.
        """
        wanted = pictures.assign(form=form(pictures)).drop_duplicates(["form", "row"])
        waiting = {
            int(shard): group.sort_values(["form", "row"])
            for shard, group in wanted.groupby(wanted["row"] % self.shards)
        }
        added = 0
        while waiting:
            free = False
            for shard in list(waiting):
                with self._locked(f"{_name(shard)}.lock", wait=False) as mine:
                    if mine:
                        added += self._fill_shard(shard, waiting.pop(shard), extract)
                        free = True
            if waiting and not free:
                with self._locked(f"{_name(next(iter(waiting)))}.lock"):
                    pass
        return added

    def columns(self, representation: str) -> slice:
        """The columns of a representation.  Raises GlitchtraceError where the store does not keep it."""
        known = columns(self.description.get("widths"), self.description["width"])
        if representation not in known:
            raise GlitchtraceError(
                f"{self.folder} keeps {', '.join(known)}, not {representation}; add it to the model's setting "
                "representations"
            )
        return known[representation]

    def read(self, pictures: pd.DataFrame, representation: str = PENULTIMATE) -> np.ndarray:
        """One representation of the pictures, (n, d) float32 in their order.

        Raises GlitchtraceError where the store lacks it or one of them.
        """
        wanted = self.columns(representation)
        found = np.empty((len(pictures), wanted.stop - wanted.start), dtype=np.float32)
        forms, rows = form(pictures), pictures["row"].to_numpy()
        lacking = 0
        for number in np.unique(rows % self.shards):
            shard = self._read_shard(int(number))
            for name in np.unique(forms):
                chosen = np.flatnonzero((rows % self.shards == number) & (forms == name))
                known, features = shard.get(name, _nothing(self.description["width"]))
                places, present = _places(known, rows[chosen])
                found[chosen[present]] = features[places[present], wanted]
                lacking += len(chosen) - int(present.sum())
        if lacking:
            raise GlitchtraceError(self._lacks(f"{lacking} of {len(pictures)}"))
        return found

    def _fill_shard(
        self, number: int, wanted: pd.DataFrame, extract: Callable[[pd.DataFrame], Iterator[np.ndarray]]
    ) -> int:
        shard = self._read_shard(number)
        width = self.description["width"]
        present = np.zeros(len(wanted), dtype=bool)
        for name, known in shard.items():
            same = (wanted["form"] == name).to_numpy()
            present[same] = _places(known[0], wanted["row"].to_numpy()[same])[1]
        missing = wanted[~present]
        if missing.empty:
            return 0
        written, waiting = 0, 0
        blocks: list[np.ndarray] = []
        flushed = time.monotonic()
        for block in extract(missing.drop(columns="form")):
            blocks.append(block)
            waiting += len(block)
            if time.monotonic() - flushed > FLUSH_SECONDS or written + waiting == len(missing):
                part = missing.iloc[written : written + waiting]
                _merge(shard, part, np.concatenate(blocks), width)
                self._write_shard(number, shard)
                written, waiting, blocks, flushed = written + waiting, 0, [], time.monotonic()
        return len(missing)

    def _read_shard(self, number: int) -> Shard:
        path = self.folder / f"{_name(number)}.safetensors"
        tensors = files.read_tensors(path) if path.is_file() else {}
        names = {key.rpartition("/")[0] for key in tensors}
        return {name: (tensors[f"{name}/rows"], tensors[f"{name}/features"]) for name in sorted(names)}

    def _write_shard(self, number: int, shard: Shard) -> None:
        tensors = {}
        for name, (rows, features) in sorted(shard.items()):
            tensors[f"{name}/rows"], tensors[f"{name}/features"] = rows, features
        files.write_tensors(tensors, self.folder / f"{_name(number)}.safetensors")

    def _lacks(self, what: str) -> str:
        return (
            f"{self.folder} lacks the features of {what} pictures of the cell; have them extracted again with "
            "--forcerun extract_features extract_test_features"
        )

    @contextmanager
    def _locked(self, name: str, wait: bool = True) -> Iterator[bool]:
        """Hold a lock of the store; without ``wait``, say False where another process has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / name, "a", encoding="utf-8") as lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except (BlockingIOError, PermissionError):
                yield False
                return
            except OSError as error:
                raise GlitchtraceError(
                    f"{self.folder} is on a file system without locks ({error}); move results elsewhere with "
                    "pathvars: {results: ...}"
                ) from None
            yield True


class FeatureInputs(Inputs):
    """One representation of pictures, read from the store when the first of them is asked for."""

    def __init__(
        self, store: FeatureStore, pictures: pd.DataFrame, representation: str = PENULTIMATE
    ) -> None:
        self._store, self._pictures, self._representation = store, pictures, representation
        wanted = store.columns(representation)
        self.shape = (wanted.stop - wanted.start,)

    def __len__(self) -> int:
        return len(self._pictures)

    @cached_property
    def _features(self) -> "torch.Tensor":
        import torch

        return torch.from_numpy(self._store.read(self._pictures, self._representation))

    def batch(self, rows: np.ndarray | slice) -> "torch.Tensor":
        """The features, (b, d) float32."""
        return self._features[rows]


def folder(host: str | Path, store: str) -> Path:
    """The folder of a store, found from ``<results>/sources/{source}/features.npy`` of the host."""
    source = Path(host).parent
    results = str(source.parents[1])
    return Path(paths.fill(paths.FEATURE_STORE, results=results, source=source.name, backbone=store))


def _name(number: int) -> str:
    return f"shard-{number:03d}"


def _nothing(width: int) -> tuple[np.ndarray, np.ndarray]:
    return np.empty(0, dtype=np.int64), np.empty((0, width), dtype=np.float32)


def _places(known: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where ``rows`` stand in the sorted rows ``known``, and whether they do."""
    places = np.searchsorted(known, rows)
    present = np.zeros(len(rows), dtype=bool)
    inside = places < len(known)
    present[inside] = known[places[inside]] == rows[inside]
    return places, present


def _merge(shard: Shard, added: pd.DataFrame, features: np.ndarray, width: int) -> None:
    """Add the features of the pictures ``added`` to the shard, in order of rows."""
    forms, new = added["form"].to_numpy(), added["row"].to_numpy()
    for name in np.unique(forms.astype(str)):
        chosen = forms == name
        rows, known = shard.get(name, _nothing(width))
        rows = np.concatenate([rows, new[chosen]])
        order = np.argsort(rows)
        merged = np.concatenate([known, features[chosen].astype(np.float32)])
        shard[name] = (rows[order], merged[order])
