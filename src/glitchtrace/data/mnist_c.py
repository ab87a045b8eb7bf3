"""MNIST-C: MNIST pictures as its authors corrupted them, one archive for all corruptions."""

import io
import zipfile
from pathlib import Path

import numpy as np

from glitchtrace.data.pool import Pool
from glitchtrace.data.raw_files import RawFile, locate
from glitchtrace.errors import GlitchtraceError

ARCHIVE = RawFile("mnist_c.zip", "md5:4b34b33045869ee6d424616cd3a65da3")
ADDRESS = "https://zenodo.org/record/3239543/files/mnist_c.zip"


def load_corruption(name: str, data_root: Path | None) -> Pool:
    """All 70,000 pictures under one corruption, in the order of MNIST, the training part first.

    From the data folder, else downloaded.  Raises GlitchtraceError where the archive has no such pictures.
    """
    path = locate(ARCHIVE, data_root, lambda: [ADDRESS])
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for part in ("train", "test"):
                for kind in ("images", "labels"):
                    content = archive.read(f"mnist_c/{name}/{part}_{kind}.npy")
                    arrays[part, kind] = np.load(io.BytesIO(content), allow_pickle=False)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError) as error:
        raise GlitchtraceError(
            f"{path}: not the expected archive ({error}); replace it by the original"
        ) from None
    count = len(arrays["train", "labels"])
    labels = np.concatenate([arrays[part, "labels"] for part in ("train", "test")]).astype(np.int64)
    pictures = np.concatenate([arrays[part, "images"] for part in ("train", "test")])
    return Pool(
        features=pictures.reshape(len(labels), 28, 28).astype(np.uint8),
        labels=labels,
        class_names=tuple("0123456789"),
        parts={"train": (0, count), "test": (count, len(labels))},
        checksums={ARCHIVE.path: ARCHIVE.checksum},
    )
