"""The frame around every job of the workflow: log, threads, record, and one readable line on bad input."""

import errno
import logging
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from glitchtrace import files, provenance
from glitchtrace.errors import GlitchtraceError


def export_environment(source: Path, data_root: str | None) -> None:
    """Set what jobs find in their environment: the package, whatever environment they run in, and the data.

    The data root is no parameter of a rule, so that moving the data re-runs nothing.
    """
    others = [
        path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", str(source))
    ]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(source), *others])
    if data_root:
        os.environ["GLITCHTRACE_DATA"] = data_root


def run(snakemake: Any, function: Callable[..., None]) -> None:
    """Call a stage function with the job's named inputs, outputs and parameters as keyword arguments.

    The parameter ``code`` (fingerprint) and the output ``record`` belong to the frame: the record holds
    parameters, code, versions, threads, data checksums and the cost of the job.  Standard error goes to the log
    file.  A GlitchtraceError or a full disk ends the job with one line; other exceptions leave their traceback in
    the log.
    """
    arguments = {**_named(snakemake.input), **_named(snakemake.output), **_named(snakemake.params)}
    code = arguments.pop("code", None)
    record = arguments.pop("record", None)
    header = f"{snakemake.rule} {dict(snakemake.wildcards.items())} versions {provenance.versions()}"
    try:
        # Inside for the job, outside for its log.
        with (
            _naming_full_disk(snakemake),
            _logging_to(snakemake.log[0], header),
            _naming_full_disk(snakemake),
        ):
            _check_threads(snakemake.threads)
            cost = _measured(function, arguments)
            if record is not None:
                content = {
                    "stage": snakemake.rule,
                    "wildcards": dict(snakemake.wildcards.items()),
                    "parameters": _named(snakemake.params),
                    "code": code,
                    "versions": provenance.versions(),
                    "threads": snakemake.threads,
                    "data": _checksums(arguments),
                    "cost": cost,
                }
                files.write_record(content, record)
    except GlitchtraceError as error:
        print(f"error in {snakemake.rule}: {error}", file=sys.stderr)
        raise SystemExit(1) from None


@contextmanager
def _logging_to(path: str, header: str) -> Iterator[None]:
    """Send standard error, log messages and warnings to a file; what ends the block is noted there as well."""
    console = sys.stderr
    with open(path, "w", buffering=1, encoding="utf-8") as log:
        sys.stderr = log
        logging.basicConfig(stream=log, level=logging.INFO, format="%(asctime)s %(message)s", force=True)
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
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


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


def _checksums(arguments: dict[str, Any]) -> dict[str, Any]:
    """Checksums of the raw data behind the sources that a job reads."""
    found = {}
    for value in arguments.values():
        for path in value if isinstance(value, list) else [value]:
            description = Path(str(path)).parent / "source.json"
            if "/sources/" in str(path) and description.is_file():
                found[description.parent.name] = files.read_record(description)["checksums"]
    return found
