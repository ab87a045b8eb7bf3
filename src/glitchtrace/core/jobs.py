"""The frame around every job of the workflow: log, threads, record, and one readable line on bad input."""

import errno
import importlib
import logging
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from glitchtrace.core import client, files, provenance, registry
from glitchtrace.core.errors import GlitchtraceError

# Arrays of sources above this size are not read whole by jobs that may need a few rows of them.
_CHECKED_BYTES = 2**30


def export_environment(source: Path, data_root: str | None, components: Sequence[str] = ()) -> None:
    """Set what jobs find in their environment: the package, whatever environment they run in, the data,
    and components of the user's own.

    The data root is no parameter of a rule, so that moving the data re-runs nothing.
    """
    client.announce()
    if components:
        registry.add(components)
    others = [
        path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", str(source))
    ]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(source), *others])
    if data_root:
        os.environ["GLITCHTRACE_DATA"] = data_root


def run(snakemake: Any) -> None:
    """Call a job's stage function with its named inputs, outputs and parameters as keyword arguments.

    The parameters ``stage`` (``module:function``) and ``code`` (fingerprint) and the output ``record`` belong to the
    frame: the record holds
    parameters, code, versions, threads, data checksums, checksums of the arrays of a source that the job wrote, and
    the cost of the job.  These arrays are checked before a job that reads them.  Standard error goes to the log
    file.  A GlitchtraceError or a full disk ends the job with one line; other exceptions leave their traceback in
    the log.
    """
    arguments = {**_named(snakemake.input), **_named(snakemake.output), **_named(snakemake.params)}
    stage, code = arguments.pop("stage"), arguments.pop("code", None)
    record = arguments.pop("record", None)
    arguments.pop(
        "beside", None
    )  # files that the stage finds beside others: declared, so that a storage brings them
    arguments.pop("raw", None)  # checksums of a user's own files: a change of them runs the job again
    header = f"{snakemake.rule} {dict(snakemake.wildcards.items())} versions {provenance.versions()}"
    try:
        # Inside for the job, outside for its log.
        with (
            _naming_full_disk(snakemake),
            _logging_to(snakemake.log[0], header),
            _naming_full_disk(snakemake),
        ):
            _check_threads(snakemake.threads)
            check_arrays(_named(snakemake.input))
            cost = _measured(stage_function(stage), arguments)
            if record is not None:
                content = {
                    # The rule, by whatever name another workflow may use it.
                    "stage": Path(record).stem.partition("-")[0],
                    "wildcards": dict(snakemake.wildcards.items()),
                    "parameters": _named(snakemake.params),
                    "code": code,
                    "versions": provenance.versions(),
                    "threads": snakemake.threads,
                    "data": _checksums(arguments),
                    "arrays": {path.name: files.crc32(path) for path in _arrays(_named(snakemake.output))},
                    "cost": cost,
                }
                files.write_record(content, record)
    except GlitchtraceError as error:
        print(f"error in {snakemake.rule}: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def stage_function(stage: str) -> Callable[..., None]:
    """The function behind ``module:function``."""
    module, _, name = stage.partition(":")
    function: Callable[..., None] = getattr(importlib.import_module(module), name)
    return function


@contextmanager
def _logging_to(path: str, header: str) -> Iterator[None]:
    """Send standard error, log messages and warnings to a file; what ends the block is noted there as well."""
    console = sys.stderr
    with open(path, "w", buffering=1, encoding="utf-8") as log:
        sys.stderr = log
        logging.basicConfig(stream=log, level=logging.INFO, format="%(asctime)s %(message)s", force=True)
        logging.getLogger("fontTools").setLevel(logging.WARNING)  # a hundred lines for each PDF
        logging.captureWarnings(True)
        try:
            print(header, file=log)
            yield
        except GlitchtraceError as error:
            with suppress(OSError):  # a full disk may have ended the block
                print(f"error: {error}", file=log)
            raise
        except BaseException:
            traceback.print_exc(file=log)
            raise
        finally:
            sys.stderr = console


def _measured(function: Callable[..., None], arguments: dict[str, Any]) -> dict[str, float]:
    """Call a stage function; return what it cost."""
    started = time.perf_counter()
    function(**arguments)
    return {
        "seconds": round(time.perf_counter() - started, 3),
        "cpu_seconds": round(time.process_time(), 3),
        "peak_mib": round(peak_kib() / 1024, 1),
    }


def peak_kib() -> int:
    """The largest memory that this process has held, in KiB.

    ``ru_maxrss`` is no such number: through fork and exec a process inherits that of its parent.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextmanager
def _naming_full_disk(snakemake: Any) -> Iterator[None]:
    """Turn a write that found no room into a GlitchtraceError that says what to do."""
    try:
        yield
    except Exception as error:
        if not _is_full_disk(error):
            raise
        raise GlitchtraceError(
            f"no space left for {snakemake.output[0]}; free some and run the same command again"
        ) from None


def _is_full_disk(error: Exception) -> bool:
    """Whether a write found no room.  NumPy and safetensors say so in words, not by the number of the error."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error)
    return os.strerror(errno.ENOSPC) in text or ("requested and" in text and text.endswith("written"))


def _named(items: Any) -> dict[str, Any]:
    """Named items of a snakemake input, output or params object; lists stay lists."""
    return {
        name: value if isinstance(value, str | int | float | bool | dict | None) else list(value)
        for name, value in items.items()
    }


def _check_threads(declared: int) -> None:
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else declared
    if granted < declared:
        raise GlitchtraceError(
            f"the job declares {declared} threads but may run on {granted} cores only; "
            "numbers would differ: raise the allocation or lower --cores"
        )


def check_arrays(inputs: Mapping[str, Any]) -> None:
    """Raise GlitchtraceError for an array of a source that is not what the record of its job says."""
    for path in _arrays(inputs):
        record = path.with_name("fetch_data.json")
        if record.is_file() and path.stat().st_size <= _CHECKED_BYTES:
            written = files.read_record(record).get("arrays", {}).get(path.name)
            if written not in (None, files.crc32(path)):
                raise GlitchtraceError(
                    f"{path} has changed since it was written (its checksum does not fit its content); "
                    "delete it and run the same command again"
                )


def _arrays(named: Mapping[str, Any]) -> list[Path]:
    """The arrays of sources among the named files of a job: unlike tables and tensors they hold no checksum."""
    paths = [Path(str(path)) for path in _flat(named)]
    return [path for path in paths if "sources" in path.parts and path.suffix in (".npy", ".npz")]


def _flat(named: Mapping[str, Any]) -> list[Any]:
    """The values of named items, lists opened."""
    return [item for value in named.values() for item in (value if isinstance(value, list) else [value])]


def _checksums(arguments: dict[str, Any]) -> dict[str, Any]:
    """Checksums of the raw data behind the sources that a job reads."""
    found = {}
    for path in _flat(arguments):
        description = Path(str(path)).parent / "source.json"
        if "/sources/" in str(path) and description.is_file():
            found[description.parent.name] = files.read_record(description)["checksums"]
    return found
