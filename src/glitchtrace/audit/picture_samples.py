"""Picture folders as samples, and what a frozen network sees in them."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glitchtrace.audit.representation import Representation
from glitchtrace.audit.samples import Samples, targets
from glitchtrace.audit.settings import DIALECT, Settings
from glitchtrace.audit.store import Made, Store, digest_of
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.heap import kept_heap
from glitchtrace.data import table_files
from glitchtrace.data.picture_folders import SUFFIXES, Pictures, read_folder, squares, written
from glitchtrace.data.table_files import Dialect

_BATCH = 25
_PASSING = 4  # batches at a time, each with its activations
_KEPT = {"penultimate": 128, "stage5": 64}  # directions of each representation
_BLANK = 2.0  # grey levels: a picture of less contrast shows nothing
_STRANGE = 8.0  # robust standard scores
_Choice = tuple[str | None, dict[str, Any]]  # a model of the registry, None: EfficientNet-Lite; settings
_FILE_COLUMNS = ("file", "path", "filename", "file_name", "image", "name")


def read_pictures(path: Path, settings: Settings, dialect: Dialect) -> Samples:
    """Samples of a picture folder, with class subfolders or a labels file; no picture is unpacked yet."""
    used = ["labels", *(("label", *DIALECT) if settings.labels else ())]
    if not (settings.features or settings.probabilities):  # else no network sees the pictures
        used += ["side", "backbone", *(() if settings.backbone else ("quality",))]
    from_file = _labels_file(settings, dialect) if settings.labels else None
    named, stored, origin, name = from_file or (None, False, str(path), "label")
    pictures = read_folder(path, named)
    settings.refuse_idle(str(path), "this folder of pictures", used)
    observed = np.array(pictures.labels, dtype=object)
    role: table_files.Role = "numeric" if settings.task == "numbers" else "categorical"
    column = table_files._typed_text(name, observed, ".", role, role == "categorical")
    found = targets(column, observed, settings, origin, name, stored)
    ids = pictures.ids
    return Samples(
        "pictures", str(path), ids, np.arange(len(pictures)), digest_of(ids, observed, _content(pictures)),
        found.labels, found.class_names, found.numbers, pictures=pictures, odd=found.odd,
        notes=(*pictures.notes, *found.notes), order_told=found.order_told, writing=found.writing,
    )  # fmt: skip


def read_unlabelled(path: Path) -> Samples:
    """Samples of a picture folder whose labels are not asked for."""
    pictures = read_folder(path, labelled=False)
    ids = pictures.ids
    return Samples(
        "pictures", str(path), ids, np.arange(len(ids)), digest_of(ids, _content(pictures)), pictures=pictures
    )


def _content(pictures: Pictures) -> str:
    """A digest of the files as they lie."""
    content = hashlib.sha256()
    for row in range(len(pictures)):
        try:
            content.update(hashlib.sha256(pictures.path(row).read_bytes()).digest())
        except OSError:
            content.update(b"unreadable")
    return content.hexdigest()


def _labels_file(settings: Settings, dialect: Dialect) -> tuple[dict[str, str], bool | None, str, str]:
    """File → label, whether the labels are stored as numbers, see ``targets``, and the names of table and column."""
    assert settings.labels is not None
    table = table_files.read_table(settings.labels, dialect, settings.label)
    if table.dialect.header is False and any(name in _FILE_COLUMNS for name in _first_row(table)):
        table = table_files.read_table(settings.labels, replace(dialect, header=True))
    label = table.resolve(settings.label, "label") if settings.label else None
    files = next((name for name in table.names if name.lower() in _FILE_COLUMNS and name != label), None)
    if files is None:
        files = next((name for name in table.names if _are_files(table.text(name)[:20])), None)
    if files is None:
        raise GlitchtraceError(f"{table.name}: no column holds file names; name one 'file'")
    if label is None:
        rest = [name for name in table.names if name != files]
        label = "label" if "label" in rest else rest[0] if len(rest) == 1 else None
    if label is None:
        raise GlitchtraceError(
            f"{table.name}: say which column is the label, --label COLUMN; columns: {table.names}"
        )
    found: dict[str, str] = {}
    for row, (file, value) in enumerate(zip(table.text(files), table.text(label), strict=True)):
        if not str(file).strip():
            raise GlitchtraceError(
                f"{table.name}, {table.place(row)}: column '{files}' names no file; fill it in"
            )
        if found.setdefault(written(str(file)), str(value)) != str(value):
            raise GlitchtraceError(
                f"{table.name}, {table.place(row)}: {file} has another label before; keep one of the lines"
            )
    kind = table.cells.column(label).type
    stored = None if table.dialect.delimiter else table_files.holds_numbers(kind)
    return found, stored, table.name, label


def _first_row(table: table_files.Table) -> list[str]:
    return [str(table.text(name)[0]).strip().lower() for name in table.names]


def _are_files(cells: np.ndarray) -> bool:
    return len(cells) > 0 and all(str(cell).lower().endswith(SUFFIXES) for cell in cells)


def represent(
    samples: Samples, settings: Settings, store: Store, tick: Callable[[float], None]
) -> tuple[Samples, Representation]:
    """The samples with digests of pixels and what is wrong at sight, and their features from a frozen network."""
    pictures = samples.pictures
    assert pictures is not None
    embed = settings.features is None and settings.probabilities is None
    network = _network(settings) if embed else None

    def seen(name: str, shown: Pictures, content: str) -> Made:
        return store.stage(
            name,
            {"content": content, "network": network},
            lambda content, network: _seen(shown, network, tick),
            "glitchtrace.audit.picture_samples:_seen",
            *((f"model={network[0]}",) if network is not None and network[0] else ()),
        )

    arrays, record = seen("pictures", pictures, samples.digest)
    odd = {int(row): text for row, text in record["odd"].items()}
    hashes = np.array(record["hashes"], dtype=object)
    unread = np.isin(np.arange(len(samples)), record["unread"])
    samples = replace(samples, hashes=hashes, odd={**odd, **samples.odd}, unread=unread if embed else None)
    trusted: dict[str, np.ndarray] | None = None
    if samples.trusted is not None and samples.trusted.pictures is not None:
        other = samples.trusted.pictures
        trusted, known = seen("trusted_pictures", other, samples.trusted.digest)
        # What cannot be read has no content that could stand elsewhere.
        kept = np.setdiff1d(np.arange(len(other)), known["unread"])
        trusted = {name: values[kept] for name, values in trusted.items()} if len(kept) else None
        found = np.array(known["hashes"], dtype=object)[kept]
        samples = replace(
            samples, trusted=replace(samples.trusted, ids=samples.trusted.ids[kept], hashes=found)
        )
    if not embed:
        return samples, Representation(np.zeros((len(samples), 1), dtype=np.float32), None, "none")
    parts, others = _reduced(arrays, list(odd), settings.seed, trusted)
    ends = np.cumsum([part.shape[1] for part in parts.values()]).tolist()
    cuts = tuple(
        (name, end - part.shape[1], end) for (name, part), end in zip(parts.items(), ends, strict=True)
    )
    return samples, Representation(
        np.concatenate(list(parts.values()), axis=1), None, record["said"], cuts,
        np.concatenate(list(others.values()), axis=1) if others else None,
        arrays["small"], None if trusted is None else trusted["small"],
    )  # fmt: skip


def _seen(pictures: Pictures, choice: _Choice | None, tick: Callable[[float], None]) -> Made:
    network, side, said = (None, 32, "none") if choice is None else _loaded(*choice)
    interpolation = network.interpolation if network is not None else "bilinear"
    n = len(pictures)
    arrays: dict[str, np.ndarray] = {}
    hashes, odd, unread = [], {}, []
    waiting: list[np.ndarray] = []
    passing: deque[tuple[int, Future[dict[str, np.ndarray]]]] = deque()

    def put(name: str, first: int, values: np.ndarray) -> None:
        # Into its place at once: blocks that stay where the network left them part its memory, which then grows.
        if name not in arrays:
            arrays[name] = np.empty((n, *values.shape[1:]), dtype=values.dtype)
        arrays[name][first : first + len(values)] = values

    def flush(left: int, last: int) -> None:
        if network is not None and waiting:
            first = last + 1 - len(waiting)
            passing.append((first, pool.submit(network.embed, np.stack(waiting), batch=_BATCH)))
        waiting.clear()
        while len(passing) > left:
            first, block = passing.popleft()
            for name, values in block.result().items():
                put(name, first, values)

    with _single_threads(network is not None) as (pool, ahead):
        for row, pixels, digest, wrong, numbers in squares(pictures, side, range(n), interpolation):
            hashes.append(digest)
            put("statistics", row, numbers[None])
            if wrong:
                odd[row] = wrong
            if pixels is None:
                unread.append(row)
            waiting.append(pixels if pixels is not None else np.full((side, side, 3), 127, dtype=np.uint8))
            if len(waiting) == _BATCH:
                flush(ahead, row)
                tick((row + 1) / n)
        flush(0, n - 1)
    seen = arrays["statistics"]
    odd.update(_at_sight(seen, odd))
    arrays["statistics"], arrays["small"] = seen[:, :6].copy(), seen[:, 6:].astype(np.float32)
    return arrays, {
        "hashes": hashes,
        "odd": {str(row): text for row, text in sorted(odd.items())},
        "said": said,
        "unread": unread,
    }


@contextmanager
def _single_threads(embed: bool) -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """A pool for batches of pictures, and how many of them may wait for their turn.

    Each batch passes on one thread: its convolutions are so small that a second thread doubles their cost and saves no
    time, and its features do not depend on the number of threads.
    """
    if not embed:
        yield ThreadPoolExecutor(1), 0
        return
    import torch

    threads = torch.get_num_threads()
    workers = min(threads, _PASSING)
    try:
        with (
            kept_heap(threads=True),
            ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        ):
            yield pool, workers
    finally:
        torch.set_num_threads(threads)


def _network(settings: Settings) -> _Choice:
    """The network that is to see the pictures, with all that it is made from."""
    if settings.backbone is None:
        variant, side = ("2", 192) if settings.quality else ("1", 128)
        return None, {"variant": variant, "side": settings.side or side}
    from glitchtrace.core import registry

    own = (
        settings.backbone in registry.names("model")
        and registry.card("model", settings.backbone).get("view") == "features"
    )
    name = settings.backbone if own else "timm"
    values = {key: fragment.get("default") for key, fragment in registry.settings("model", name).items()}
    if not own:
        values["backbone"] = settings.backbone
    if settings.side is not None:
        values["side"] = settings.side
    return name, values


def _loaded(name: str | None, values: Mapping[str, Any]) -> tuple[Any, int, str]:
    """The network of a choice, the side of its pictures, and what it is."""
    if name is None:
        from glitchtrace.models.efficientnet_lite import load

        variant, side = values["variant"], values["side"]
        return load(variant, side), side, f"EfficientNet-Lite{variant} with ImageNet weights, {side} pixels"
    from glitchtrace.core import registry

    network = registry.load("model", name).backbone(values)
    side = int(network.own.side)
    return network, side, f"{values['backbone'] if name == 'timm' else name}, {side} pixels"


def _at_sight(statistics: np.ndarray, broken: dict[int, str]) -> dict[int, str]:
    """Pictures that show nothing, or whose brightness or sharpness is far from that of all others."""
    found: dict[int, str] = {}
    rows = np.array([row for row in range(len(statistics)) if row not in broken], dtype=np.int64)
    if not len(rows):
        return found
    brightness, contrast, edges = statistics[rows, 0], statistics[rows, 1], statistics[rows, 2]
    for row, value in zip(rows, contrast, strict=True):
        if value < _BLANK:
            found[int(row)] = "the picture has one colour"
    for values, low, high in (
        (brightness, "darker", "brighter"),
        (np.log(edges + 0.1), "more blurred", "noisier"),
        # Edges for their contrast: what is drawn in strong strokes has as many as noise has, and more contrast.
        (np.log((edges + 0.1) / np.maximum(contrast, _BLANK)), "", "noisier"),
    ):
        middle = np.median(values)
        scale = max(1.4826 * float(np.median(np.abs(values - middle))), 1e-3 * abs(float(middle)) + 1e-9)
        for row, score in zip(rows, (values - middle) / scale, strict=True):
            how = high if score > 0 else low
            if abs(score) > _STRANGE and how and int(row) not in found:
                found[int(row)] = f"the picture is far {how} than the others"
    return found


def _reduced(
    arrays: dict[str, np.ndarray], broken: list[int], seed: int, trusted: dict[str, np.ndarray] | None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The main directions of each representation, each brought to one size; broken pictures do not count.

    Also the trusted pictures along the same directions.
    """
    from sklearn.decomposition import PCA

    parts, others = {}, {}
    for name, features in arrays.items():
        if name in ("statistics", "small"):
            continue
        kept = np.setdiff1d(np.arange(len(features)), np.array(broken, dtype=np.int64))
        kept = kept if len(kept) > 1 else np.arange(len(features))
        size = min(_KEPT.get(name, 128), features.shape[1], len(kept) - 1)
        fit = PCA(
            size, svd_solver="randomized" if features.shape[1] > 2 * size else "full", random_state=seed
        )
        found = fit.fit(features[kept]).transform(features)
        scale = max(float(np.sqrt((found[kept] ** 2).sum(axis=1).mean())), 1e-9)
        parts[name] = (found / scale * np.sqrt(size)).astype(np.float32)
        if trusted is not None:
            others[name] = (fit.transform(trusted[name]) / scale * np.sqrt(size)).astype(np.float32)
    return parts, others
