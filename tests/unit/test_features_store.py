"""The store of features: each picture once, in whatever order, by however many processes, killed or not."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data import feature_store as store
from glitchtrace.data.feature_store import FeatureStore

WIDTH = 3


def opened(folder: Path, shards: int = 2) -> FeatureStore:
    found = FeatureStore(folder, shards)
    found.describe(lambda: {"width": WIDTH})
    return found


def expected(wanted: pd.DataFrame) -> np.ndarray:
    """What the features of a picture are in these tests: a function of its identity alone."""
    names = np.array([sum(name.encode()) for name in store.form(wanted)])
    return (names[:, None] * 1000 + wanted["row"].to_numpy()[:, None] * WIDTH + np.arange(WIDTH)).astype(
        np.float32
    )


class Counting:
    """Extracts, and remembers every picture that it was given."""

    def __init__(self, block: int = 2) -> None:
        self.seen: list[tuple] = []
        self._block = block

    def __call__(self, wanted: pd.DataFrame):
        for start in range(0, len(wanted), self._block):
            part = wanted.iloc[start : start + self._block]
            self.seen += list(zip(store.form(part), part["row"], strict=True))
            yield expected(part)


def samples(*identities: tuple) -> pd.DataFrame:
    return store.of_samples(pd.DataFrame(identities, columns=["source", "row", "corruption", "severity"]))


IDENTITIES = st.tuples(
    st.sampled_from(["mnist", "fmnist"]),
    st.integers(0, 12),
    st.sampled_from(["", "stripe", "brightness"]),
    st.integers(1, 2),
)


@given(st.lists(st.lists(IDENTITIES, min_size=1, max_size=12), min_size=1, max_size=4), st.integers(1, 3))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_each_picture_is_extracted_once_and_read_back_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, requests: list[list[tuple]], shards: int
) -> None:
    kept, extract = opened(tmp_path_factory.mktemp("store"), shards), Counting()
    for request in requests:
        wanted = samples(*request)
        before = len(extract.seen)
        assert kept.fill(wanted, extract) == len(extract.seen) - before
        np.testing.assert_array_equal(kept.read(wanted), expected(wanted))
    assert len(extract.seen) == len(set(extract.seen))
    assert set(extract.seen) == {
        (str(form), row)
        for request in requests
        for form, row in zip(store.form(samples(*request)), samples(*request)["row"], strict=True)
    }


def test_a_clean_picture_is_the_same_with_and_without_columns_of_corruption() -> None:
    assert list(store.form(samples(("mnist", 1, "", 0), ("mnist", 1, "stripe", 2)))) == [
        "mnist",
        "mnist@stripe-2",
    ]
    assert list(store.form(store.of_rows("mnist", np.array([1])))) == ["mnist"]


def test_the_order_in_which_pictures_come_leaves_no_trace_in_the_files(tmp_path: Path) -> None:
    first, second = store.of_rows("b", np.arange(9)), store.of_rows("a", np.arange(4, 20))
    for folder, requests in (("x", (first, second)), ("y", (second, first[::-1]))):
        for wanted in requests:
            opened(tmp_path / folder).fill(wanted, Counting())
    for file in (tmp_path / "x").glob("shard-*.safetensors"):
        assert file.read_bytes() == (tmp_path / "y" / file.name).read_bytes()


def test_a_killed_extraction_keeps_what_it_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "FLUSH_SECONDS", -1.0)
    wanted, kept, extract = store.of_rows("mnist", np.arange(10)), opened(tmp_path, 1), Counting()

    def killed(part: pd.DataFrame):
        blocks = extract(part)
        yield next(blocks)
        yield next(blocks)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept.fill(wanted, killed)
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")], "no temporary file is left"
    assert kept.fill(wanted, extract) == 6
    assert len(extract.seen) == len(set(extract.seen)) == 10
    np.testing.assert_array_equal(kept.read(wanted), expected(wanted))


def fill_in_a_process(folder: Path, rows: range, log: Path) -> None:
    def slow(wanted: pd.DataFrame):
        for _, part in wanted.groupby(np.arange(len(wanted)) // 2):
            time.sleep(0.01)
            with open(log, "a", encoding="utf-8") as stream:
                stream.write("".join(f"{row}\n" for row in part["row"]))
            yield expected(part)

    opened(folder, 3).fill(store.of_rows("mnist", np.array(rows)), slow)


def test_processes_that_fill_one_store_share_the_work(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    requests = (range(30), range(10, 40), range(5, 35))
    logs = [tmp_path / f"{number}.log" for number in range(len(requests))]
    processes = [
        context.Process(target=fill_in_a_process, args=(tmp_path / "store", rows, log))
        for rows, log in zip(requests, logs, strict=True)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    seen = [int(row) for log in logs if log.exists() for row in log.read_text().split()]
    assert sorted(seen) == list(range(40))
    wanted = store.of_rows("mnist", np.arange(40))
    np.testing.assert_array_equal(FeatureStore(tmp_path / "store", 3).read(wanted), expected(wanted))


def test_what_a_store_lacks_is_said_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(GlitchtraceError, match="lacks the features of all pictures"):
        FeatureStore(tmp_path / "none", 1).read(store.of_rows("mnist", np.arange(3)))
    kept = opened(tmp_path, 1)
    kept.fill(store.of_rows("mnist", np.arange(3)), Counting())
    with pytest.raises(GlitchtraceError, match=r"features of 2 of 4 pictures.*--forcerun extract_features"):
        kept.read(store.of_rows("mnist", np.array([1, 7, 2, 9])))
    with pytest.raises(GlitchtraceError, match="1 of 1"):
        kept.read(store.of_rows("fmnist", np.array([1])))


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    kept = opened(tmp_path, 1)
    kept.fill(store.of_rows("mnist", np.arange(3)), Counting())
    file = tmp_path / "shard-000.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(GlitchtraceError, match=r"shard-000\.safetensors cannot be read"):
        kept.read(store.of_rows("mnist", np.arange(3)))


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(store.fcntl, "lockf", refuse)
    with pytest.raises(GlitchtraceError, match="file system without locks"):
        opened(tmp_path)


def test_a_description_is_written_once(tmp_path: Path) -> None:
    opened(tmp_path)
    FeatureStore(tmp_path, 2).describe(lambda: pytest.fail("described twice"))
    assert files.read_record(tmp_path / "store.json")["width"] == WIDTH
