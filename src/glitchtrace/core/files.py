"""Files of a run: written whole or not at all, marked with the version of their layout, and checked when read.

Writing is atomic: a reader sees the old file, the whole new file, or none.  Tables, tensors and records carry
``SCHEMA_VERSION`` (docs/data-dictionary.md says what the version stands for).  Every file carries a CRC-32 over all
that it means: a table over names, types and values of its columns, tensors and records over names and values, an
array over the whole file, behind whose end it stands.  Reading refuses, in one line that names the file and the
remedy, what is truncated, altered or of another version.  A file without a version or a checksum was not written
here; only its form is checked.
"""

import glob
import json
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glitchtrace.core.errors import GlitchtraceError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import DTypeLike

# Raised whenever a column, tensor or key of a result file changes its name, type, unit or meaning.
SCHEMA_VERSION = 1
_VERSION_KEY, _CHECKSUM_KEY = "schema_version", "crc32"
_REMEDY = "delete it and run the same command again"
_ALTERED = "its checksum does not fit its content"
_SEAL = b"crc32 "
# Types of NumPy as safetensors names them, in its order of writing from the last.
_SAFETENSORS = {
    "b1": "BOOL", "u1": "U8", "i1": "I8", "i2": "I16", "u2": "U16", "f2": "F16",
    "i4": "I32", "u4": "U32", "f4": "F32", "c8": "C64", "f8": "F64", "i8": "I64", "u8": "U64",
}  # fmt: skip
_DTYPES = tuple(_SAFETENSORS)
# What readers of formats raise for damaged files, beside their own exceptions.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    MemoryError,
)


@contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; move it over ``target`` on success, remove it on failure.

    What a killed predecessor left beside the target is removed first; two writers of one target at a time there
    are none (the workflow locks its folder).
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for remains in target.parent.glob(f".{glob.escape(target.stem)}.????????{glob.escape(target.suffix)}"):
        remains.unlink(missing_ok=True)
    # The suffix is kept: seaborn, pyarrow and safetensors choose formats by it.
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}.", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        if error.filename != name:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from None  # the name that its user knows
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(value: Any, target: str | Path) -> None:
    """Write ``value`` as sorted, indented JSON."""
    write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", target)


def write_text(text: str, target: str | Path) -> None:
    """Write a text file."""
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def replace_section(file: str | Path, section: str, text: str) -> None:
    """Replace what stands between the marks ``<!-- section: begin -->`` and ``<!-- section: end -->`` of a text file.

    Raises ValueError if the marks are missing.
    """
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    before, found, rest = Path(file).read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{file} has no section {section}")
    write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", file)


def write_npy(array: "np.ndarray", target: str | Path) -> None:
    """Write one array, readable with ``numpy.load(..., mmap_mode="r")``."""
    import numpy as np

    with replacing(target) as temporary:
        with open(temporary, "wb") as stream:
            np.save(stream, array, allow_pickle=False)
        _seal(temporary)


@contextmanager
def mapped_npy(target: str | Path, *, shape: tuple[int, ...], dtype: "DTypeLike") -> Iterator["np.ndarray"]:
    """Yield an array, mapped to a temporary file that becomes ``target`` on success, to be filled part by part.

    Raises OSError where the disk has no room for the whole: a mapped file without room kills its writer.
    """
    import numpy as np

    with replacing(target) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with open(temporary, "r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, temporary.stat().st_size)
        yield array
        array.flush()
        _seal(temporary)


@contextmanager
def appended_npy(
    target: str | Path, *, shape: tuple[int, ...], dtype: "DTypeLike"
) -> "Iterator[Callable[[np.ndarray], None]]":
    """Yield a function that appends rows to a temporary array, which becomes ``target`` on success.

    No more than the rows of one call are held.  Raises ValueError where they do not make up ``shape``.
    """
    import numpy as np

    with replacing(target) as temporary:
        left = shape[0]
        with open(temporary, "wb") as stream:
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(stream, header)

            def append(rows: "np.ndarray") -> None:
                nonlocal left
                if rows.shape[1:] != shape[1:] or rows.dtype != np.dtype(dtype):
                    raise ValueError(f"rows of {rows.dtype} {rows.shape} do not fit {shape}")
                left -= len(rows)
                stream.write(np.ascontiguousarray(rows).data)

            yield append
        if left:
            raise ValueError(f"{left} rows of {shape} are missing")
        _seal(temporary)


class NpyRows:
    """An array in a file, of which consecutive rows are read; unlike a mapped one it adds nothing to the memory.

    The file may be removed while it is open.  Raises GlitchtraceError where it is truncated or altered.
    """

    def __init__(self, path: str | Path) -> None:
        mapped = read_npy(path, memory_mapped=True)
        self.shape, self.dtype = mapped.shape, mapped.dtype
        self._path = path
        self._start = int(mapped.offset)  # type: ignore[attr-defined]
        self._descriptor = os.open(path, os.O_RDONLY)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def read(self, start: int, stop: int) -> "np.ndarray":
        """Rows from ``start`` to before ``stop``."""
        import numpy as np

        rows = np.empty((stop - start, *self.shape[1:]), self.dtype)
        content: Any = rows.reshape(-1).view(np.uint8)
        width = math.prod(self.shape[1:]) * self.dtype.itemsize
        if os.preadv(self._descriptor, [content], self._start + start * width) != rows.nbytes:
            raise _unreadable(self._path, "npy", "it is cut off")
        return rows


def read_npy(path: str | Path, *, memory_mapped: bool = False) -> "np.ndarray":
    """Read one array; ``memory_mapped`` opens it.  Raises GlitchtraceError where it is truncated or altered."""
    import numpy as np

    try:
        _check_seal(path)
        array: np.ndarray = np.load(path, mmap_mode="r" if memory_mapped else None, allow_pickle=False)
    except _UNREADABLE as error:
        raise _unreadable(path, "npy", error) from None
    return array


def write_parquet(table: "pd.DataFrame", target: str | Path) -> None:
    """Write a table without its index, with version and checksum; the same table gives the same bytes."""
    import pyarrow as pa
    from pyarrow import parquet

    content = pa.Table.from_pandas(table, preserve_index=False)
    marks = {_VERSION_KEY: str(SCHEMA_VERSION), _CHECKSUM_KEY: _table_checksum(content)}
    content = content.replace_schema_metadata({**(content.schema.metadata or {}), **marks})
    with replacing(target) as temporary:
        parquet.write_table(content, temporary, compression="zstd", write_page_checksum=True)


def read_parquet(path: str | Path) -> "pd.DataFrame":
    """Read a table.  Raises GlitchtraceError where it is truncated, altered or of another version."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        content = parquet.read_table(path, page_checksum_verification=True, partitioning=None)
        marks = {key: value.decode() for key, value in (content.schema.metadata or {}).items()}
        version, written = marks.get(_VERSION_KEY.encode(), ""), marks.get(_CHECKSUM_KEY.encode())
        sound = written in (None, _table_checksum(content))
        table: pd.DataFrame = content.to_pandas()
    except (pa.ArrowException, *_UNREADABLE) as error:
        raise _unreadable(path, "parquet", error) from None
    _check_version(path, version)
    if not sound:
        raise _unreadable(path, "parquet", _ALTERED)
    return table


def write_tensors(
    tensors: "dict[str, np.ndarray]", target: str | Path, metadata: dict[str, str] | None = None
) -> None:
    """Write named arrays as safetensors, with their version and checksum."""
    import numpy as np

    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    marks = {_VERSION_KEY: str(SCHEMA_VERSION), _CHECKSUM_KEY: _checksum(arrays)}
    header: dict[str, Any] = {"__metadata__": dict(sorted({**(metadata or {}), **marks}.items()))}
    # The order and the padding of the library, which copies all arrays before it writes the first.
    names = sorted(arrays, key=lambda name: (-_DTYPES.index(arrays[name].dtype.str[1:]), name))
    place = 0
    for name in names:
        array = arrays[name]
        kind = _SAFETENSORS[array.dtype.str[1:]]
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [place, place + array.nbytes],
        }
        place += array.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    with replacing(target) as temporary, open(temporary, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little"))
        stream.write(text)
        for name in names:
            content: Any = arrays[name].reshape(-1).view(np.uint8)
            stream.write(content)


def read_tensors(path: str | Path) -> "dict[str, np.ndarray]":
    """Read named arrays.  Raises GlitchtraceError where the file is truncated, altered or of another version."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as stored:  # checks the header against the file
            metadata = stored.metadata() or {}
        arrays = _arrays(path)
    except (SafetensorError, *_UNREADABLE) as error:
        raise _unreadable(path, "safetensors", error) from None
    _check_version(path, metadata.get(_VERSION_KEY, ""))
    if metadata.get(_CHECKSUM_KEY, found := _checksum(arrays)) != found:
        raise _unreadable(path, "safetensors", _ALTERED)
    return arrays


def _arrays(path: str | Path) -> "dict[str, np.ndarray]":
    """The arrays of a sound safetensors file, each read to its place: the library maps the file and copies it."""
    import numpy as np

    types = {name: np.dtype(kind) for kind, name in _SAFETENSORS.items()}
    arrays = {}
    with open(path, "rb") as stream:
        start = 8 + (size := int.from_bytes(stream.read(8), "little"))
        header = json.loads(stream.read(size))
        header.pop("__metadata__", None)
        for name in sorted(header):
            entry = header[name]
            array = np.empty(entry["shape"], types[entry["dtype"]])
            stream.seek(start + entry["data_offsets"][0])
            if stream.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:  # type: ignore[arg-type]
                raise EOFError(f"{name} is cut off")
            arrays[name] = array
    return arrays


def write_record(value: Mapping[str, Any], target: str | Path) -> None:
    """Write the record or description of something as JSON, with version and checksum."""
    content = {_VERSION_KEY: SCHEMA_VERSION, **value}
    read = json.loads(json.dumps(content))  # keys that are numbers become text, and sort as such
    write_json({**content, _CHECKSUM_KEY: _record_checksum(read)}, target)


def read_record(path: str | Path) -> dict[str, Any]:
    """Read what ``write_record`` wrote, without its checksum.

    Raises GlitchtraceError where it is no such file, altered or of another version.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        version = str(content.get(_VERSION_KEY, ""))
    except AttributeError:
        raise _unreadable(path, "JSON", "it holds no mapping") from None
    except _UNREADABLE as error:
        raise _unreadable(path, "JSON", error) from None
    _check_version(path, version)
    written = content.pop(_CHECKSUM_KEY, None)
    # What was written here has both; a key that was altered is a checksum that is lost.
    if written != _record_checksum(content) and (version or written is not None):
        raise _unreadable(path, "JSON", _ALTERED)
    return dict(content)


def _record_checksum(content: Mapping[str, Any]) -> str:
    """CRC-32 of a record's keys and values as JSON gives them back, in hexadecimal."""
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def _table_checksum(content: "pa.Table") -> str:
    """CRC-32 of the names, types, values and missing values of an Arrow table's columns, in hexadecimal."""
    import numpy as np

    value = zlib.crc32((content.schema.metadata or {}).get(b"pandas", b""))
    for name, column in zip(content.column_names, content.columns, strict=True):
        # Parquet keeps the codes of categories, and their text, in types of its own.
        coded = hasattr(column.type, "index_type")
        kind = str(column.type.value_type if coded else column.type).removeprefix("large_")
        value = zlib.crc32(f"{name}:{coded}:{kind}:{len(column)}".encode(), value)
        values = np.ascontiguousarray(column.to_numpy())
        if values.dtype.kind in "biuf":
            value = zlib.crc32(values.tobytes(), value)
        else:  # categories, text and lists
            value = zlib.crc32("\0".join(map(repr, column.to_pylist())).encode(), value)
        if column.null_count:
            value = zlib.crc32(np.packbits(column.is_null().to_numpy()).tobytes(), value)
    return f"{value:08x}"


def _seal(path: Path) -> None:
    """Put the checksum of an array's file behind its end, where numpy does not look."""
    checksum = crc32(path)
    with open(path, "ab") as stream:
        stream.write(_SEAL + checksum.encode())


def _check_seal(path: str | Path) -> None:
    """Raise ValueError where the file does not fit the checksum behind its end; without one it is believed."""
    size = Path(path).stat().st_size - len(_SEAL) - 8
    if size < 0:
        return
    with open(path, "rb") as stream:
        stream.seek(size)
        seal = stream.read()
    if seal.startswith(_SEAL) and seal[len(_SEAL) :] != crc32(path, size).encode():
        raise ValueError(_ALTERED)


def _checksum(arrays: "Mapping[str, np.ndarray]") -> str:
    """CRC-32 of the names and contents of arrays, in hexadecimal."""
    import numpy as np

    value = 0
    for name in sorted(arrays):
        content: Any = arrays[name].reshape(-1).view(np.uint8)
        value = zlib.crc32(content, zlib.crc32(name.encode(), value))
    return f"{value:08x}"


def _check_version(path: str | Path, found: str) -> None:
    if found not in ("", str(SCHEMA_VERSION)):
        raise GlitchtraceError(
            f"{path} has schema version {found}, this glitchtrace reads {SCHEMA_VERSION}; {_REMEDY}"
        )


def _unreadable(path: str | Path, form: str, reason: Exception | str) -> GlitchtraceError:
    if isinstance(reason, FileNotFoundError):
        return GlitchtraceError(f"{path} does not exist; ask snakemake for it by this name")
    first = (str(reason).strip() or type(reason).__name__).splitlines()[0]
    return GlitchtraceError(f"{path} cannot be read as {form} ({first}); {_REMEDY}")


def content(path: str | Path) -> str:
    """CRC-32 of the content of a file, or of names and contents of all files of a folder, in hexadecimal."""
    path = Path(path)
    if not path.is_dir():
        return crc32(path)
    value = 0
    for file in below(path):
        if (path / file).is_file():
            value = zlib.crc32(f"{file} {crc32(path / file)}\n".encode(), value)
    return f"{value:08x}"


def is_text(path: str | Path) -> bool:
    """Whether a path is UTF-8: Arrow opens no other."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def below(folder: Path) -> list[str]:
    """Paths of all files below a folder, relative to it, in the order of their parts.

    Links to folders are followed, but not to a folder in which they lie.  A link to nothing is a file that cannot be
    read.  Raises GlitchtraceError for a folder that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise GlitchtraceError(f"{error.filename}: cannot be read ({error.strerror or error}); correct it")

    found = []
    around: dict[Path, tuple[Path, ...]] = {folder: (folder.resolve(),)}  # the real folders in which one lies
    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        place = Path(root)
        for name in list(folders):
            real = (place / name).resolve()
            if real in around[place]:
                folders.remove(name)
            around[place / name] = (*around[place], real)
        for path in (place / name for name in names):
            if path.is_file() or path.is_symlink():
                found.append(path.relative_to(folder))
    return [path.as_posix() for path in sorted(found)]


def crc32(path: str | Path, size: float = math.inf) -> str:
    """CRC-32 of the content of a file, or of its first ``size`` bytes, in hexadecimal."""
    value = 0
    with open(path, "rb") as stream:
        while size and (block := stream.read(int(min(size, 2**20)))):
            value, size = zlib.crc32(block, value), size - len(block)
    return f"{value:08x}"
