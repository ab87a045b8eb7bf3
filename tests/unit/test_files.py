"""What readers refuse: truncated, altered, and of another version; and what a killed writer leaves behind."""

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError

TABLE = pd.DataFrame({"name": [f"row {i}" for i in range(200)], "value": np.linspace(0, 1, 200)})
TENSORS = {"a/b": np.arange(300, dtype=np.float32).reshape(20, 15), "c": np.array([7])}
RECORD = {"stage": "train", "cost": {"seconds": 1.5}}
FORMS: dict[str, tuple[Callable, Callable]] = {
    "t.parquet": (lambda path: files.write_parquet(TABLE, path), files.read_parquet),
    "t.safetensors": (lambda path: files.write_tensors(TENSORS, path), files.read_tensors),
    "t.json": (lambda path: files.write_record(RECORD, path), files.read_record),
    "t.npy": (lambda path: files.write_npy(TENSORS["a/b"], path), files.read_npy),
}


@pytest.fixture(params=FORMS)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Callable]:
    """A file of each form and its reader."""
    write, read = FORMS[request.param]
    write(tmp_path / request.param)
    return tmp_path / request.param, read


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    for name, (write, _) in FORMS.items():
        write(tmp_path / name)
    pd.testing.assert_frame_equal(files.read_parquet(tmp_path / "t.parquet"), TABLE)
    for name, tensor in files.read_tensors(tmp_path / "t.safetensors").items():
        np.testing.assert_array_equal(tensor, TENSORS[name])
    assert files.read_record(tmp_path / "t.json") == {"schema_version": files.SCHEMA_VERSION, **RECORD}
    np.testing.assert_array_equal(files.read_npy(tmp_path / "t.npy", memory_mapped=True), TENSORS["a/b"])


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_truncated_file_is_one_line_with_the_remedy(stored: tuple[Path, Callable], share: float) -> None:
    path, read = stored
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(GlitchtraceError, match="delete it and run the same command again") as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(stored: tuple[Path, Callable]) -> None:
    path, read = stored
    path.unlink()
    with pytest.raises(GlitchtraceError, match=r"t\.\w+ does not exist; ask snakemake for it"):
        read(path)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_a_flipped_bit_of_the_tensors_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "t.safetensors"
    files.write_tensors(TENSORS, path)
    content = bytearray(path.read_bytes())
    first = 8 + int.from_bytes(content[:8], "little")
    content[first + int(place * (len(content) - first))] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(GlitchtraceError, match="its checksum does not fit its content"):
        files.read_tensors(path)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_a_flipped_bit_of_a_table_never_changes_a_value(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    from pyarrow import parquet

    path = tmp_path_factory.mktemp("flip") / "t.parquet"
    files.write_parquet(TABLE, path)
    content = bytearray(path.read_bytes())
    pages = sum(
        parquet.ParquetFile(path).metadata.row_group(0).column(i).total_compressed_size for i in range(2)
    )
    content[4 + int(place * pages)] ^= 1 << bit
    path.write_bytes(content)
    try:
        found = files.read_parquet(path)
    except GlitchtraceError:
        return
    pd.testing.assert_frame_equal(found, TABLE)


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SCHEMA_VERSION", 99)
    for name, (write, _) in FORMS.items():
        write(tmp_path / name)
    monkeypatch.undo()
    for name in ("t.parquet", "t.safetensors", "t.json"):
        with pytest.raises(GlitchtraceError) as caught:
            FORMS[name][1](tmp_path / name)
        assert re.search(r"has schema version 99, this glitchtrace reads 1; delete it", str(caught.value))


def test_a_file_of_no_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "foreign.json").write_text(json.dumps({"a": 1}))
    assert files.read_record(tmp_path / "foreign.json") == {"a": 1}
    TABLE.to_parquet(tmp_path / "foreign.parquet", index=False)
    pd.testing.assert_frame_equal(files.read_parquet(tmp_path / "foreign.parquet"), TABLE)


@pytest.mark.parametrize("content", ["[]", "3", '"text"'])
def test_json_that_is_no_mapping_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(GlitchtraceError, match="it holds no mapping"):
        files.read_record(tmp_path / "t.json")


def test_the_same_tensors_give_the_same_bytes_whatever_their_metadata(tmp_path: Path) -> None:
    for trial in range(20):
        files.write_tensors(TENSORS, tmp_path / f"{trial}.safetensors", {"recipe": "é\n", "b": '"'})
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    with safe_open(tmp_path / "0.safetensors", framework="np") as found:
        assert found.metadata()["recipe"] == "é\n"


def test_remains_of_a_killed_writer_go_with_the_next_write(tmp_path: Path) -> None:
    remains = tmp_path / ".t.abcd1234.json"
    others = [tmp_path / ".t.abcd1234.npy", tmp_path / ".t2.abcd1234.json", tmp_path / "t.json.bak"]
    for path in (remains, *others):
        path.touch()
    files.write_json({}, tmp_path / "t.json")
    assert not remains.exists()
    assert all(path.exists() for path in others)


def test_a_mapped_array_is_whole_or_absent(tmp_path: Path) -> None:
    with files.mapped_npy(tmp_path / "m.npy", shape=(3, 4), dtype=np.float32) as array:
        array[:] = 2
        assert not (tmp_path / "m.npy").exists()
    assert (files.read_npy(tmp_path / "m.npy") == 2).all()
    with (
        pytest.raises(RuntimeError),
        files.mapped_npy(tmp_path / "n.npy", shape=(3, 4), dtype=np.float32),
    ):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["m.npy"]


def test_a_mapped_array_takes_its_room_before_it_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapped file is sparse: without room its writer would be killed by a signal while it fills it."""
    asked = []

    def full(descriptor: int, start: int, size: int) -> None:
        asked.append((start, size, os.fstat(descriptor).st_size))
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with (
        pytest.raises(OSError, match="no room"),
        files.mapped_npy(tmp_path / "m.npy", shape=(30, 4), dtype=np.float32),
    ):
        pytest.fail("the array is there without room for it")
    ((start, size, whole),) = asked
    assert start == 0
    assert size == whole > 30 * 4 * 4
    assert not list(tmp_path.iterdir())


def test_tensors_have_the_bytes_that_the_library_writes(tmp_path: Path) -> None:
    kinds = [
        "bool",
        "uint8",
        "int8",
        "int16",
        "uint16",
        "float16",
        "int32",
        "uint32",
        "float32",
        "complex64",
        "float64",
        "int64",
        "uint64",
    ]
    tensors = {f"{kind}/{size}": np.ones((3, size), kind) for kind in kinds for size in (2, 0, 1)}
    tensors |= {"é": np.array(3.5), "turned": np.arange(6.0).reshape(2, 3).T}
    files.write_tensors(tensors, tmp_path / "ours.safetensors", {"recipe": "é\n", "b": '"'})
    with safe_open(tmp_path / "ours.safetensors", framework="np") as found:
        marks = found.metadata()
    whole = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    save_file(whole, tmp_path / "theirs.safetensors", metadata=marks)
    ours, theirs = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("ours", "theirs"))
    size = int.from_bytes(ours[:8], "little")
    assert ours[:8] == theirs[:8]
    assert ours[8 + size :] == theirs[8 + size :]
    # The order of its metadata changes from call to call.
    assert list(json.loads(ours[8 : 8 + size]).items()) == list(json.loads(theirs[8 : 8 + size]).items())
    again = files.read_tensors(tmp_path / "ours.safetensors")
    assert all(same_array(again[name], tensors[name]) for name in tensors)


def test_a_record_whose_checksum_has_lost_its_name_is_refused(tmp_path: Path) -> None:
    files.write_record({"parts": {"train": [0, 9]}}, tmp_path / "t.json")
    text = (tmp_path / "t.json").read_text()
    (tmp_path / "t.json").write_text(text.replace('"crc32"', '"crc31"').replace("9", "8"))
    with pytest.raises(GlitchtraceError, match="its checksum does not fit its content"):
        files.read_record(tmp_path / "t.json")


def test_a_record_whose_keys_are_numbers_is_read_again(tmp_path: Path) -> None:
    files.write_record({"rows": {2: 1, 10: 2}}, tmp_path / "t.json")
    assert files.read_record(tmp_path / "t.json")["rows"] == {"2": 1, "10": 2}


def same_array(found: np.ndarray, written: np.ndarray) -> bool:
    return found.dtype == written.dtype and np.array_equal(found, written)


def test_an_array_is_checked_when_it_is_mapped_too(tmp_path: Path) -> None:
    with files.mapped_npy(tmp_path / "m.npy", shape=(50, 4), dtype=np.float32) as array:
        array[:] = 1
    np.testing.assert_array_equal(np.load(tmp_path / "m.npy"), np.ones((50, 4)))
    assert (files.read_npy(tmp_path / "m.npy", memory_mapped=True) == 1).all()
    content = bytearray((tmp_path / "m.npy").read_bytes())
    content[300] ^= 4
    (tmp_path / "m.npy").write_bytes(content)
    with pytest.raises(GlitchtraceError, match=r"m\.npy cannot be read as npy \(its checksum does not fit"):
        files.read_npy(tmp_path / "m.npy", memory_mapped=True)


def test_what_cannot_be_written_is_named_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.txt").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        files.write_text("text", tmp_path / "t.txt")
    assert caught.value.filename == str(tmp_path / "t.txt")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "hidden")

    monkeypatch.setattr("tempfile.mkstemp", refused)
    with pytest.raises(PermissionError) as caught:
        files.write_text("text", tmp_path / "u.txt")
    assert caught.value.filename == str(tmp_path / "u.txt")
