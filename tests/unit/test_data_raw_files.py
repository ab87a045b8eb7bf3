"""Raw files: where they are looked for, checksums, downloads, and the formats they come in."""

import gzip
import hashlib
import io
import os
import pickle
import socket
import struct
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.datasets import colour_pictures as colour
from glitchtrace.data.datasets import idx as mnist
from glitchtrace.data.datasets.colour_pictures import decode_jpeg, read_cifar10
from glitchtrace.data.datasets.idx import load_idx, read_idx
from glitchtrace.data.raw_files import RawFile, locate, read_arrays

CONTENT = b"the right content"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home, so that no test sees or fills the user's cache."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("sockets are blocked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def raw_file(content: bytes = CONTENT, path: str = "folder/raw.bin", algorithm: str = "md5") -> RawFile:
    return RawFile(path, f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")


def put(folder: Path, content: bytes, raw: RawFile) -> Path:
    target = folder / raw.path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- places and checksums ------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_the_data_folder_comes_before_the_cache(tmp_path, home, algorithm):
    raw = raw_file(algorithm=algorithm)
    cached = put(home / ".cache" / "glitchtrace", CONTENT, raw)
    assert locate(raw, tmp_path / "data") == cached
    assert locate(raw, None) == cached
    own = put(tmp_path / "data", CONTENT, raw)
    assert locate(raw, tmp_path / "data") == own


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT.upper(), b""])
def test_a_truncated_or_altered_file_is_named_with_both_checksums(tmp_path, content):
    raw = raw_file()
    path = put(tmp_path, content, raw)
    with pytest.raises(GlitchtraceError) as caught:
        locate(raw, tmp_path)
    message = str(caught.value)
    assert str(path) in message
    assert f"{raw.checksum} expected" in message
    assert f"{raw_file(content).checksum} found" in message
    assert "\n" not in message


def test_a_file_without_a_download_names_the_places_and_the_remedy(tmp_path, home):
    with pytest.raises(
        GlitchtraceError, match=r"raw\.bin is not at .* no download of it exists; put it at"
    ) as caught:
        locate(raw_file(), tmp_path)
    assert str(tmp_path / "folder/raw.bin") in str(caught.value)
    assert str(home / ".cache/glitchtrace/folder/raw.bin") in str(caught.value)
    assert "GLITCHTRACE_DATA" in str(caught.value)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder, and the address under which this machine publishes it for the time of the test."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "raw.bin").write_bytes(CONTENT)
    (folder / "short.bin").write_bytes(CONTENT[:-1])
    monkeypatch.setenv("no_proxy", "*")
    handler = partial(QuietHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_args):
        pass


def test_a_download_from_the_second_address_lands_whole_in_the_data_folder(tmp_path, published):
    addresses = [f"{published}/absent.bin", f"{published}/raw.bin"]
    target = locate(raw_file(), tmp_path / "data", lambda: addresses)
    assert target == tmp_path / "data/folder/raw.bin"
    assert target.read_bytes() == CONTENT
    assert names_in(target.parent) == ["raw.bin"]


def test_without_a_data_folder_a_download_lands_in_the_cache(home, published):
    assert (
        locate(raw_file(), None, lambda: [f"{published}/raw.bin"])
        == home / ".cache/glitchtrace/folder/raw.bin"
    )


def test_a_download_of_other_content_is_refused_and_leaves_nothing(tmp_path, published):
    addresses = [f"{published}/short.bin", f"{published}/absent.bin"]
    with pytest.raises(
        GlitchtraceError, match=r"download failed .*short\.bin has another content; HTTP Error 404"
    ):
        locate(raw_file(), tmp_path / "data", lambda: addresses)
    assert names_in(tmp_path / "data/folder") == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(GlitchtraceError, match="download failed"):
        locate(raw_file(), tmp_path / "file", lambda: [tmp_path.as_uri()])


@pytest.mark.parametrize(
    ("dataset", "file"),
    [
        ("mnist", "train-images-idx3-ubyte.gz"),
        ("fmnist", "train-images-idx3-ubyte.gz"),
        ("cifar10", "cifar-10-python.tar.gz"),
        ("cifar10_lossless", "cifar10_lossless_5000.npz"),
        ("cifar10_jpeg", "cifar10_train_jpeg.npz"),
    ],
)
def test_offline_a_missing_dataset_is_one_line_and_nothing_is_written(tmp_path, offline, dataset, file):
    with pytest.raises(GlitchtraceError) as caught:
        registry.load("dataset", dataset).load(tmp_path / "data")
    message = str(caught.value)
    assert message.startswith(f"{file} is not at {tmp_path}")
    assert "put it at" in message
    assert "\n" not in message
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_checksums_and_mirrors_are_those_of_torchvision(monkeypatch):
    from torchvision.datasets import CIFAR10, MNIST, FashionMNIST

    for own, published in ((mnist.MNIST, MNIST), (mnist.FASHION, FashionMNIST)):
        found = {Path(raw.path).name: raw.checksum.partition(":")[2] for raw in own}
        assert found == dict(published.resources)
    assert RawFile(CIFAR10.filename, f"md5:{CIFAR10.tgz_md5}") == colour.CIFAR10
    asked = []

    def locate_nothing(raw, data_root, addresses):
        asked.append((Path(raw.path).name, addresses()))
        raise FileNotFoundError

    monkeypatch.setattr(mnist, "locate", locate_nothing)
    monkeypatch.setattr(colour, "locate", locate_nothing)
    for load in (mnist.load_mnist, mnist.load_fashion, colour.load_cifar10):
        with pytest.raises(FileNotFoundError):
            load(None)
    first = "train-images-idx3-ubyte.gz"
    assert asked == [
        (first, [f"{mirror}{first}" for mirror in MNIST.mirrors]),
        (first, [f"{mirror}{first}" for mirror in FashionMNIST.mirrors]),
        (CIFAR10.filename, [CIFAR10.url]),
    ]


# --- IDX -----------------------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@settings(deadline=None, derandomize=True, max_examples=25)
@given(array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, max_side=6)))
def test_idx_files_are_read_as_they_were_written(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("idx") / "array.gz"
    path.write_bytes(gzip.compress(idx(array), mtime=0))
    np.testing.assert_array_equal(read_idx(path, array.ndim), array)


PICTURES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(idx(PICTURES), mtime=0)[:-20], "not a whole gzip file"),
        (b"plain text", "not a whole gzip file"),
        (gzip.compress(idx(PICTURES)[:-1], mtime=0), "23 values where the header announces 2×3×4"),
        (gzip.compress(idx(PICTURES) + b"x", mtime=0), "25 values where"),
        (gzip.compress(b"\0\0\x0d\x03" + idx(PICTURES)[4:], mtime=0), "begins with 0x00000d03"),
        (gzip.compress(idx(PICTURES[0]), mtime=0), "not an IDX file of unsigned bytes in 3"),
        (gzip.compress(b"", mtime=0), "not an IDX file"),
    ],
)
def test_a_broken_idx_file_is_named(tmp_path, content, message):
    path = tmp_path / "pictures.gz"
    path.write_bytes(content)
    with pytest.raises(GlitchtraceError, match=message) as caught:
        read_idx(path, dimensions=3)
    assert str(path) in str(caught.value)


def test_an_idx_dataset_puts_the_training_part_first(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 7), ("t10k", 4)):
        arrays[f"{part}-images-idx3-ubyte.gz"] = rng.integers(0, 256, (count, 3, 3), dtype=np.uint8)
        arrays[f"{part}-labels-idx1-ubyte.gz"] = rng.integers(0, 3, count, dtype=np.uint8)
    raws = []
    for name, array in arrays.items():
        content = gzip.compress(idx(array), mtime=0)
        raws.append(raw_file(content, f"here/raw/{name}"))
        put(tmp_path, content, raws[-1])
    pool = load_idx(raws, ("a", "b", "c"), tmp_path, list)
    assert pool.parts == {"train": (0, 7), "test": (7, 11)}
    np.testing.assert_array_equal(pool.features[:7], arrays["train-images-idx3-ubyte.gz"])
    np.testing.assert_array_equal(pool.labels[7:], arrays["t10k-labels-idx1-ubyte.gz"])
    assert pool.labels.dtype == np.int64
    assert pool.checksums == {Path(raw.path).name: raw.checksum for raw in raws}


# --- CIFAR-10 ------------------------------------------------------------------------------------------

BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as stream:
        for name, content in members.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            stream.addfile(member, io.BytesIO(content))
    return path


def batches(protocol: int, rows: int = 3) -> tuple[dict[str, bytes], np.ndarray, list[int]]:
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (len(BATCHES) * rows, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, len(pictures)).tolist()
    members = {}
    for position, name in enumerate(BATCHES):
        chosen = slice(position * rows, (position + 1) * rows)
        data = pictures[chosen].transpose(0, 3, 1, 2).reshape(rows, -1)
        content = {
            b"batch_label": name.encode(),
            b"labels": labels[chosen],
            b"data": data,
            b"filenames": ["a"],
        }
        members[name] = pickle.dumps(content, protocol=protocol)
    return members, pictures, labels


@pytest.mark.parametrize("protocol", [3, 4])
def test_the_archive_is_read_in_official_order(tmp_path, monkeypatch, protocol):
    members, pictures, labels = batches(protocol)
    path = archive(tmp_path / "cifar-10-python.tar.gz", members)
    monkeypatch.setattr(colour, "CIFAR10", raw_file(path.read_bytes(), path.name))
    pool = colour.load_cifar10(tmp_path)
    np.testing.assert_array_equal(pool.features, pictures)
    np.testing.assert_array_equal(pool.labels, labels)
    assert pool.parts == {"train": (0, 15), "test": (15, 18)}
    assert names_in(tmp_path) == [path.name]


class Harmful:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ((os.mkdir, "harm"), "posix.mkdir"),
        ((eval, "__import__('os').mkdir('harm')"), "builtins.eval"),
        ((getattr, "text", "upper"), "builtins.getattr"),
        ((np.save, "harm", 1), "numpy.save"),
    ],
)
def test_an_archive_that_asks_for_more_than_arrays_is_refused_unexecuted(tmp_path, monkeypatch, call, name):
    monkeypatch.chdir(tmp_path)
    members = batches(4)[0]
    members["data_batch_2"] = pickle.dumps({b"data": Harmful(*call), b"labels": [0]}, protocol=4)
    path = archive(tmp_path / "archive.tar.gz", members)
    with pytest.raises(GlitchtraceError, match=f"not the official CIFAR-10 archive .it asks for {name}"):
        read_cifar10(path)
    assert names_in(tmp_path) == ["archive.tar.gz"]


def test_a_harmful_object_inside_an_object_array_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    members = batches(4)[0]
    data = np.array([Harmful(os.mkdir, "harm")], dtype=object)
    members["test_batch"] = pickle.dumps({b"data": data, b"labels": [0]}, protocol=4)
    with pytest.raises(GlitchtraceError, match=r"posix\.mkdir"):
        read_cifar10(archive(tmp_path / "archive.tar.gz", members))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "break_it",
    [
        lambda members: members.pop("data_batch_4"),
        lambda members: members.update(test_batch=b"no pickle"),
        lambda members: members.update(test_batch=members["test_batch"][:-50]),
        lambda members: members.update(test_batch=pickle.dumps({b"labels": [0]})),
        lambda members: members.update(test_batch=pickle.dumps({b"labels": [0], b"data": [1, 2]})),
        lambda members: members.update(test_batch=pickle.dumps([1, 2])),
    ],
)
def test_an_archive_of_another_form_is_named(tmp_path, break_it):
    members = batches(4)[0]
    break_it(members)
    with pytest.raises(
        GlitchtraceError, match=r"archive\.tar\.gz: not the official CIFAR-10 archive"
    ) as caught:
        read_cifar10(archive(tmp_path / "archive.tar.gz", members))
    assert "\n" not in str(caught.value)


def test_a_truncated_archive_is_named(tmp_path):
    path = archive(tmp_path / "archive.tar.gz", batches(4)[0])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(GlitchtraceError, match="not the official CIFAR-10 archive"):
        read_cifar10(path)


def jpegs(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    encoded = []
    for picture in pictures:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, format="JPEG", quality=95)
        encoded.append(stream.getvalue())
    offsets = np.cumsum([0, *map(len, encoded)])
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets


def smooth(count: int) -> np.ndarray:
    ramp = np.linspace(0, 255, 32)
    picture = np.stack([np.add.outer(ramp, ramp) / 2] * 3, axis=-1)
    return np.stack([picture * (1 + number) / count for number in range(count)]).astype(np.uint8)


def test_jpeg_pictures_are_decoded_in_order():
    pictures = smooth(3)
    decoded = decode_jpeg(*jpegs(pictures))
    assert decoded.shape == pictures.shape
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - pictures).max() <= 4


def test_the_jpeg_dataset_is_read_from_its_two_files(tmp_path, monkeypatch):
    pictures = smooth(5)
    raws = {}
    for part, chosen in (("train", slice(0, 3)), ("test", slice(3, 5))):
        content, offsets = jpegs(pictures[chosen])
        path = tmp_path / f"{part}.npz"
        np.savez(path, jpeg=content, offsets=offsets, labels=np.arange(len(offsets) - 1, dtype=np.uint8))
        raws[part] = raw_file(path.read_bytes(), path.name, "sha256")
    monkeypatch.setattr(colour, "JPEG", raws)
    pool = colour.load_jpeg(tmp_path)
    assert pool.parts == {"train": (0, 3), "test": (3, 5)}
    assert list(pool.labels) == [0, 1, 2, 0, 1]
    assert np.abs(pool.features.astype(int) - pictures).max() <= 4


def test_an_altered_npz_is_refused_by_its_checksum(tmp_path):
    path = put(tmp_path, b"PK not the published file", colour.LOSSLESS)
    with pytest.raises(GlitchtraceError, match="truncated or altered") as caught:
        colour.load_lossless(tmp_path)
    assert str(path) in str(caught.value)
    assert colour.LOSSLESS.checksum in str(caught.value)


def test_npz_files_of_another_form_or_with_pickles_are_refused(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, x=np.array([Harmful(os.mkdir, str(tmp_path / "harm"))], dtype=object))
    for name, said in {"x": "not the expected npz file", "y": "there is no array 'y' in it, but x;"}.items():
        with pytest.raises(GlitchtraceError, match=rf"arrays\.npz: {said}"):
            read_arrays(path, [name])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(GlitchtraceError, match="not the expected npz file"):
        read_arrays(path, ["x"])
    assert not (tmp_path / "harm").exists()


# --- real files ----------------------------------------------------------------------------------------


@pytest.mark.data
def test_mnist_has_the_published_class_counts(data_root):
    pool = mnist.load_mnist(data_root)
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert pool.features.shape == (70000, 28, 28)
    assert list(np.bincount(pool.labels[:60000])) == train
    assert list(np.bincount(pool.labels[60000:])) == test


@pytest.mark.data
def test_fashion_mnist_is_balanced(data_root):
    pool = mnist.load_fashion(data_root)
    first, end = pool.parts["test"]
    assert (np.bincount(pool.labels) == 7000).all()
    assert (np.bincount(pool.labels[first:end]) == 1000).all()


@pytest.mark.data
def test_a_truncated_copy_of_mnist_is_refused(data_root, tmp_path):
    for name in (Path(raw.path).name for raw in mnist.MNIST):
        content = (data_root / "MNIST/raw" / name).read_bytes()
        put(
            tmp_path,
            content[:-1] if name.startswith("t10k-labels") else content,
            RawFile(f"MNIST/raw/{name}", ""),
        )
    with pytest.raises(GlitchtraceError, match=r"t10k-labels-idx1-ubyte\.gz: truncated or altered"):
        mnist.load_mnist(tmp_path)


@pytest.mark.data
def test_jpeg_and_lossless_pictures_of_cifar10_match_at_the_same_row(data_root):
    lossless = colour.load_lossless(data_root)
    path = locate(colour.JPEG["train"], data_root)
    content, offsets, labels = read_arrays(path, ("jpeg", "offsets", "labels"))
    pictures = decode_jpeg(content, offsets[:301])
    difference = np.abs(pictures.astype(int) - lossless.features[:300]).mean(axis=(1, 2, 3))
    assert lossless.parts == {"train": (0, 4000), "test": (4000, 5000)}
    np.testing.assert_array_equal(labels[:4000], lossless.labels[:4000])
    assert difference.max() < 13.1
    assert np.abs(pictures[::-1].astype(int) - lossless.features[:300]).mean() > 40
