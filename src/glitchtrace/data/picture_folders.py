"""Pictures of the user's own: a folder with a subfolder per class, or with a labels file; read where they lie."""

import hashlib
import os
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_MOST_PIXELS = 2 * 10**8  # a picture that unpacks to more is taken for broken

_SMALL = 16  # side of the grey picture that tells a copy saved anew from another picture


@dataclass(frozen=True)
class Pictures:
    """``files``: paths below ``folder``, sorted; ``labels``: their labels as text, "" where there is none.

    ``notes``: what lies in the folder and was left out.  Labels and notes are ``shown``.
    """

    folder: Path
    files: tuple[str, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    @property
    def ids(self) -> np.ndarray:
        """The files (n,) as ``shown``."""
        return np.array([shown(file) for file in self.files], dtype=object)

    def path(self, row: int) -> Path:
        """Where picture ``row`` lies."""
        return self.folder / self.files[row]


def read_folder(
    folder: str | Path, labels: Mapping[str, str] | None = None, *, labelled: bool = True
) -> Pictures:
    """Find the pictures of a folder, also behind links to folders.

    ``labels``: file, relative to the folder and as of ``written`` -> label; without it the label is the first folder
    below, and files and folders whose names begin with a dot are left out.  ``labelled``: whether labels are asked for.
    Raises GlitchtraceError where there are no pictures, or a labelled file is missing.
    """
    folder = Path(folder)
    every = files.below(folder)
    pictures = sorted(file for file in every if Path(file).suffix.lower() in SUFFIXES)
    hidden = [file for file in pictures if "/." in f"/{file}"]
    found = [file for file in pictures if "/." not in f"/{file}"]
    if not (found if labels is None else pictures):
        raise GlitchtraceError(
            f"{folder}: no pictures ({', '.join(SUFFIXES[:3])}, …) lie in this folder; give another, or a file"
        )
    notes = []
    if labels is not None:
        missing = sorted(labels.keys() - {written(file) for file in pictures})
        if missing:
            what = f"no picture ({', '.join(SUFFIXES)})" if missing[0] in every else "not in the folder"
            # As of a path that begins at the root, or with the name of the folder.
            meant = next((file for file in pictures if missing[0].endswith(f"/{written(file)}")), None)
            raise GlitchtraceError(
                f"{folder}: the labels file names {missing[0]}, which is {what} "
                f"({len(missing)} of {len(labels)} are not); correct its paths, which begin in this folder"
                + (f": write {meant}" if meant else "")
            )
        lost = [file for file in found if written(file) not in labels]
        found = [file for file in pictures if written(file) in labels]
        named = [labels[written(file)] for file in found]
        notes += _left_out("Pictures that do not stand in the labels file", lost)
    else:
        named = [shown(file.partition("/")[0]) if "/" in file else "" for file in found]
        if labelled and not any(named):
            raise GlitchtraceError(
                f"{folder}: the pictures lie in no class subfolders; make a subfolder per class "
                "(an audit also takes --labels FILE)"
            )
        notes += _left_out("Pictures with a name or a folder that begins with a dot", hidden)
        folders = {path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."}
        empty = sorted(folders - {file.partition("/")[0] for file in found})
        notes += _left_out("Class folders without pictures", empty if labelled else ())
    other = [file for file in every if "/." not in f"/{file}" and Path(file).suffix.lower() not in SUFFIXES]
    notes += _left_out("Files that do not end as a picture that is read", other)
    return Pictures(folder, tuple(found), tuple(named), tuple(notes))


def written(path: str) -> str:
    """A path as any system writes it: strokes forwards, letters with their accents, no blanks around it."""
    return unicodedata.normalize("NFC", Path(path.strip().replace("\\", "/")).as_posix())


def shown(path: str) -> str:
    """A path as text: bytes that are no UTF-8, as in names out of old archives, are written as hexadecimal numbers."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _left_out(what: str, some: Sequence[str]) -> list[str]:
    """A note on files that are left out, or none."""
    return [f"{what} are left out: {len(some)} (the first: {shown(some[0])})."] if some else []


def open_picture(path: Path) -> "Image.Image":
    """A picture as it is meant to be seen, 8 bits RGB: turned as its EXIF says, alpha laid on white, 16 bits scaled.

    Raises GlitchtraceError, naming the file, where it cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as opened:
                if opened.width * opened.height > _MOST_PIXELS:
                    raise ValueError(f"{opened.width} × {opened.height} pixels")
                opened.load()
                picture: Image.Image = ImageOps.exif_transpose(opened)
                return _rgb(picture)
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        MemoryError,
        TypeError,
        Image.DecompressionBombError,
    ) as error:
        reason = (
            " ".join(str(error).split())[:120].replace(str(path), shown(path.name)) or type(error).__name__
        )
        raise GlitchtraceError(f"{path}: cannot be read as a picture ({reason}); replace it") from None
    except Exception as error:  # a decoder's own exception on a broken file is no defect of ours
        raise GlitchtraceError(
            f"{path}: cannot be read as a picture ({type(error).__name__}); replace it"
        ) from None


def _rgb(picture: Any) -> "Image.Image":
    from PIL import Image

    if picture.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        values = np.asarray(picture, dtype=np.float64)
        top = 65535.0 if picture.mode != "F" else float(max(np.nanmax(values), 1e-9))
        scaled = np.clip(np.nan_to_num(values) / top * 255, 0, 255).astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        over = picture.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    result: Image.Image = picture.convert("RGB")
    return result


def squares(
    pictures: Pictures, side: int, rows: Sequence[int], interpolation: str = "bilinear"
) -> Iterator[tuple[int, np.ndarray | None, str, str, np.ndarray]]:
    """For each row: (row, pixels (side, side, 3) uint8 or None, digest of the pixels, what is wrong, statistics).

    Pictures are stretched to a square, by ``bilinear`` or ``bicubic`` interpolation.  Statistics: brightness, contrast,
    sharpness, distinct grey levels, width and height of the original, then the 256 grey levels of the picture at
    16 × 16 pixels.
    """
    from PIL import Image

    for row in rows:
        path = pictures.path(row)
        try:
            picture = open_picture(path)
        except GlitchtraceError as error:
            reason = str(error).partition(": ")[2].rpartition(";")[0]
            yield (
                row,
                None,
                hashlib.blake2b(f"broken {row}".encode(), digest_size=16).hexdigest(),
                reason,
                np.zeros(6 + _SMALL**2),
            )
            continue
        digest = hashlib.blake2b(
            picture.tobytes(), digest_size=16, key=f"{picture.width}x{picture.height}".encode()
        ).hexdigest()
        grey = np.asarray(picture.convert("L").resize((64, 64), Image.Resampling.BILINEAR), dtype=np.float64)
        edges = np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()
        statistics = np.array(
            [
                grey.mean(),
                grey.std(),
                edges,
                len(np.unique(grey.astype(np.uint8))),
                picture.width,
                picture.height,
                *grey.reshape(_SMALL, 64 // _SMALL, _SMALL, 64 // _SMALL).mean(axis=(1, 3)).ravel(),
            ]
        )
        pixels = np.asarray(picture.resize((side, side), Image.Resampling[interpolation.upper()]))
        yield row, pixels, digest, "", statistics


def thumbnail(path: Path, side: int) -> bytes | None:
    """A small JPEG of a picture; None where it cannot be read."""
    import io

    from PIL import Image

    try:
        picture = open_picture(path)
    except GlitchtraceError:
        return None
    if max(picture.size) < side // 2:
        scale = side // max(picture.size)
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=80)
    return stream.getvalue()
