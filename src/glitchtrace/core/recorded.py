"""The settings behind the files that studies share, kept beside the results.

A path names components, not their settings.  ``<results>/settings/<kind>/<name>.json`` says with which settings a
name was run, so that a study, ``--config`` or a workflow around this one cannot put other content into the same path.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glitchtrace.core import files, registry
from glitchtrace.core.errors import GlitchtraceError

FOLDER = "settings"
# The keys of the configuration, beside settings of components, that shared files depend on.
KEYS = ("device", "evaluation_batch")


def check(resolved: Mapping[str, Any], of_all: Mapping[str, Any]) -> None:
    """Raise GlitchtraceError where a study would write other content than is recorded into an existing path.

    ``resolved`` is the complete configuration; ``of_all`` has the same settings as the files shared by all studies
    have them: a change there is one for all, and Snakemake makes anew what follows from it.  Settings that came or
    went with a release of the package are not compared.
    """
    common = dict(_entries(of_all))
    for place, now in _entries(resolved):
        file = _folder(resolved) / f"{'/'.join(place)}.json"
        if now == common.get(place) or not file.is_file():
            continue
        before = files.read_record(file).get("settings")
        changed = _difference(before, now)
        if changed:
            key, old, new = changed
            raise GlitchtraceError(
                f"{_named(place)}{key}: the results in {_folder(resolved).parent} were made with {old}, not {new}; "
                f"{_remedy(place)}, or delete {file} to make them anew"
            )


def check_folders(resolved: Mapping[str, Any], cells: Iterable[str]) -> None:
    """Raise GlitchtraceError where a file stands in the place of a folder of ``cells``, below the results."""
    results = _folder(resolved).parent
    folders = {above for cell in cells for above in (results / cell, *(results / cell).parents)}
    for folder in sorted(folders):
        if folder.is_file():
            raise GlitchtraceError(f"{folder} is a file where a folder of results should be; move it away")


def write(resolved: Mapping[str, Any]) -> None:
    """Record the settings of a study that is about to run.

    Raises GlitchtraceError where nothing can be written among the results: no job has to run to find that out.
    """
    results = _folder(resolved).parent
    for place, now in _entries(resolved):
        file = _folder(resolved) / f"{'/'.join(place)}.json"
        if not file.is_file() or files.read_record(file).get("settings") != now:
            with _writable(results):
                file.parent.mkdir(parents=True, exist_ok=True)
                files.write_record({"settings": now}, file)
    with _writable(results), tempfile.TemporaryDirectory(dir=_folder(resolved)):
        pass  # the records may be there already


def settings_of(kind: str, name: str, results: Path) -> Mapping[str, Any] | None:
    """The settings with which a component stands in the paths below ``results``; None where none are recorded."""
    try:
        return files.read_record(results / FOLDER / kind / f"{name}.json").get("settings")
    except GlitchtraceError:
        return None


@contextmanager
def _writable(results: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GlitchtraceError(
            f"{results}: results cannot be written there ({error.strerror}: {error.filename}); make the folder "
            "writable, or set pathvars: {results: <another folder>}"
        ) from None


def _folder(resolved: Mapping[str, Any]) -> Path:
    return Path((resolved.get("pathvars") or {}).get("results", "results")) / FOLDER


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What is recorded: the place of its file, and the value."""
    for key in KEYS:
        yield (key,), config[key]
    for kind, names in config["settings"].items():
        for name, settings in names.items():
            yield (kind, name), settings


def _named(place: tuple[str, ...]) -> str:
    """The key of the configuration that a record is of."""
    if len(place) == 1:
        return place[0]
    table = next(table for table, kind in registry.tables().items() if kind == place[0])
    return f"{table}.{place[1]}"


def _remedy(place: tuple[str, ...]) -> str:
    if len(place) == 1:
        return "keep that, or set pathvars: {results: <another folder>}"
    return f"name another variant, e.g. '{registry.base_name(place[1])}@mine2'"


def _difference(before: Any, now: Any) -> tuple[str, Any, Any] | None:
    """The first value that differs: the rest of its key, what it was and what it is."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted(before.keys() & now.keys()):
            found = _difference(before[key], now[key])
            if found:
                return f".{key}{found[0]}", *found[1:]
        return None
    return None if before == now else ("", before, now)
