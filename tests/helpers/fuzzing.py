"""One bit at random in every kind of file that decides a result: what its reader makes of it.

    python tests/helpers/fuzzing.py --trials 1000

A file of ours must be refused in one line, or mean what it meant (*harmless*).  A file of the user's own may mean
something else afterwards: its content is a parameter of what is made from it, so that this runs again (*noticed*).
*Accepted* is what reads as something else without anybody noticing; *traceback*, any other exception.  Ends with exit
status 1 where there is one of these.
"""

import argparse
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from glitchtrace.audit import samples as audit_samples
from glitchtrace.audit.settings import Settings
from glitchtrace.core import files, study_files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data import sparse
from glitchtrace.data.datasets import libsvm, own_files
from glitchtrace.data.description import read_description
from glitchtrace.influence.factors import load_factors
from glitchtrace.models import backbone_weights, weights
from glitchtrace.papers.cincer.person.session import Session

OUTCOMES = ("refused", "harmless", "noticed", "accepted", "traceback")
RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "row": np.arange(40),
        "part": pd.Categorical(["train", "validation", "test", "train"] * 10),
        "label": np.arange(40) % 3,
        "score": RNG.normal(size=40),
        "right": np.arange(40) % 2 == 0,
    }
)
RECORD = {"classes": ["a", "b", "c"], "parts": {"all": [0, 40]}, "modality": "table", "x": [1.5, None]}
STUDY = """# A study.
grid:
  - {datasets: [wine, iris], models: [linear], glitches: [uniform], ratios: [0.1], seeds: [0, 1]}
models:
  linear@slow: {training: {default: {learning_rate: 0.001, epochs: 5}}}
detectors: [default]
"""


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name on disk, how it is written and read, and whether it is the user's own."""

    file: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    own: bool = False


def _write_session(path: Path) -> None:
    answers = [{"example": 3, "labels": {"3": 1, "7": 0}, "unsure": False} for _ in range(3)]
    session = _session(path)
    session._write(answers)


def _session(path: Path) -> Session:
    session = object.__new__(Session)
    session.folder, session.identity = (
        path.parent,
        {"dataset": "iris", "seed": 1, "data": {"labels.npy": "ab"}},
    )
    return session


def _write_factors(path: Path) -> None:
    tensors: dict[str, np.ndarray] = {"learning_rates": np.full(2, 0.1), "batch_size": np.array([8])}
    for part, rows in (("train", 6), ("validation", 4)):
        tensors[f"{part}/labels"] = np.arange(rows) % 3
        tensors[f"{part}/features"] = RNG.normal(size=(rows, 4)).astype(np.float32)
        for epoch in (1, 2):
            tensors[f"{part}/probabilities/{epoch:03d}"] = np.full((rows, 3), 1 / 3, np.float32)
    files.write_tensors(tensors, path)


def _write_libsvm(path: Path) -> None:
    lines = [f"{row % 2} 1:{row * 0.5:.2f} 3:{row} 7:-1.25" for row in range(40)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _write_csv(path: Path) -> None:
    rows = [
        f"{row},{row * 0.37:.2f},{'red' if row % 3 else 'blue'},{'yes' if row % 2 else 'no'}"
        for row in range(60)
    ]
    path.write_text("\n".join(["id,size,colour,label", *rows]) + "\n")


def _table_settings(path: Path) -> dict[str, Any]:
    given: dict[str, Any] = {
        key: spec["default"] for key, spec in own_files.CARDS["table_file"]["settings"].items()
    }
    return {**given, "path": str(path), "label": "label"}


def _write_weights(path: Path) -> None:
    from safetensors.numpy import save_file

    save_file(
        {f"layer{place}.weight": RNG.normal(size=(3, 4)).astype(np.float32) for place in range(3)}, path
    )


def _write_pth(path: Path) -> None:
    import torch

    torch.save({f"layer{place}.weight": torch.ones(3, 4) for place in range(3)}, path)


KINDS: Mapping[str, Kind] = {
    "parquet (split, samples, scores)": Kind(
        "t.parquet", lambda path: files.write_parquet(TABLE, path), files.read_parquet
    ),
    "safetensors (factors)": Kind("factors.safetensors", _write_factors, load_factors),
    "safetensors (checkpoints, profile)": Kind(
        "t.safetensors",
        lambda path: files.write_tensors({"a": RNG.normal(size=(8, 5)), "b": np.arange(9)}, path),
        files.read_tensors,
    ),
    "npy (features, labels, influence)": Kind(
        "t.npy", lambda path: files.write_npy(RNG.normal(size=(9, 7)), path), files.read_npy
    ),
    "npz (sparse features)": Kind(
        "t.npz",
        lambda path: sparse.write_sparse(csr_matrix(np.eye(9, dtype=np.float32) * 3), path),
        sparse.read_sparse,
    ),
    "json (records, source.json)": Kind(
        "source.json", lambda path: files.write_record(RECORD, path), read_description
    ),
    "session.json of a person": Kind("session.json", _write_session, lambda path: _session(path)._stored()),
    "study, YAML": Kind(
        "study.yaml",
        lambda path: path.write_text(STUDY),
        lambda path: study_files.read(path).content,
        own=True,
    ),
    "own table, CSV": Kind(
        "own.csv", _write_csv, lambda path: own_files.read_table_file(_table_settings(path)), own=True
    ),
    "own table, Parquet": Kind(
        "own.parquet",
        lambda path: TABLE.drop(columns="row").to_parquet(path, index=False),
        lambda path: own_files.read_table_file(_table_settings(path)),
        own=True,
    ),
    "own table of the audit, CSV": Kind(
        "audit.csv", _write_csv, lambda path: audit_samples.read(path, Settings(label="label")), own=True
    ),
    "own arrays, npz": Kind(
        "own.npz",
        lambda path: np.savez(path, features=RNG.normal(size=(20, 4)), labels=np.arange(20) % 3),
        lambda path: own_files.read_array_file(
            {"path": str(path), "features": "features", "labels": "labels"}
        ),
        own=True,
    ),
    "own libsvm": Kind(
        "LIBSVM/own", _write_libsvm, lambda path: libsvm.load_own(path.parent.parent), own=True
    ),
    "own weights, safetensors": Kind(
        "own.safetensors", _write_weights, lambda path: weights._read_named_file(str(path)), own=True
    ),
    "own weights, pth": Kind("own.pth", _write_pth, backbone_weights.read, own=True),
}


def flipped(kind: Kind, folder: Path, trials: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """How often each outcome came, and what was raised instead of one line."""
    path = folder / kind.file
    path.parent.mkdir(parents=True, exist_ok=True)
    kind.write(path)
    content, draw = path.read_bytes(), random.Random(seed)
    meant = _meaning(kind.read(path))
    before = files.crc32(path)
    outcomes: Counter[str] = Counter()
    raised = []
    for _ in range(trials):
        bit = draw.randrange(8 * len(content))
        altered = bytearray(content)
        altered[bit // 8] ^= 1 << bit % 8
        path.write_bytes(altered)
        try:
            found = _meaning(kind.read(path))
        except GlitchtraceError as error:
            outcomes["traceback" if "\n" in str(error) else "refused"] += 1
            if "\n" in str(error):
                raised.append(f"bit {bit}: {error!r}")
        except Exception as error:
            outcomes["traceback"] += 1
            raised.append(f"bit {bit}: {type(error).__name__}: {error}")
        else:
            if found == meant:
                outcomes["harmless"] += 1
            else:
                noticed = kind.own and files.crc32(path) != before
                outcomes["noticed" if noticed else "accepted"] += 1
                if not noticed:
                    raised.append(f"bit {bit}: accepted")
    path.write_bytes(content)
    return outcomes, raised


def _meaning(value: Any) -> Any:
    """A value as something that can be compared: arrays by type and bytes, tables by columns, objects by fields."""
    if isinstance(value, np.ndarray):
        content = value.tolist() if value.dtype.kind == "O" else value.tobytes()
        return (str(value.dtype), value.shape, repr(content) if value.dtype.kind == "O" else content)
    if isinstance(value, pd.DataFrame):
        return [(name, str(value[name].dtype), repr(value[name].tolist())) for name in value]
    if isinstance(value, csr_matrix):
        return [_meaning(part) for part in (value.data, value.indices, value.indptr)] + [value.shape]
    if isinstance(value, Mapping):
        return {str(key): _meaning(part) for key, part in value.items() if str(key) != "checksums"}
    if isinstance(value, list | tuple):
        return [_meaning(part) for part in value]
    if hasattr(value, "detach"):
        return _meaning(value.detach().numpy())
    if hasattr(value, "__dataclass_fields__"):
        return {
            name: _meaning(getattr(value, name)) for name in value.__dataclass_fields__ if name != "checksums"
        }
    return (
        repr(value) if isinstance(value, float) or not isinstance(value, str | int | bool | None) else value
    )


def main() -> int:
    """Flip, count, and print or write the table."""
    import warnings

    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", help="a CSV to write")
    options = parser.parse_args()
    rows = []
    for name, kind in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            outcomes, raised = flipped(kind, Path(folder), options.trials, options.seed)
        rows.append(
            {"kind of file": name, "trials": options.trials, **{key: outcomes[key] for key in OUTCOMES}}
        )
        print(json.dumps(rows[-1]), *raised[:5], sep="\n  ", flush=True)
    table = pd.DataFrame(rows)
    if options.table:
        files.write_text(table.to_csv(index=False), options.table)
    return int(table[["accepted", "traceback"]].to_numpy().any())


if __name__ == "__main__":
    raise SystemExit(main())
