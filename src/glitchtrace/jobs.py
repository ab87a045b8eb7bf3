"""The frame around every job of the workflow: log, threads, record, and one readable line on bad input."""

import json
import logging
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glitchtrace import files, provenance
from glitchtrace.errors import GlitchtraceError


def export_environment(source: Path, data_root: str | None) -> None:
    """Set what jobs find in their environment: the package, whatever environment they run in, and the data.

    The data root is no parameter of a rule, so that moving the data re-runs nothing.
    """
    os.environ["PYTHONPATH"] = str(source)
    if data_root:
        os.environ["GLITCHTRACE_DATA"] = data_root


def run(snakemake: Any, function: Callable[..., None]) -> None:
    """Call a stage function with the job's named inputs, outputs and parameters as keyword arguments.

    The parameter ``code`` (fingerprint) and the output ``record`` belong to the frame: the record holds
    parameters, code, versions, threads, data checksums and the cost of the job.  Standard error goes to the log
    file.  A GlitchtraceError ends the job with its one line; other exceptions leave their traceback in the log.
    """
    arguments = {**_named(snakemake.input), **_named(snakemake.output), **_named(snakemake.params)}
    code = arguments.pop("code", None)
    record = arguments.pop("record", None)
    stage = snakemake.rule
    console = sys.stderr
    with open(snakemake.log[0], "w", buffering=1, encoding="utf-8") as log:
        sys.stderr = log
        logging.basicConfig(stream=log, level=logging.INFO, format="%(asctime)s %(message)s", force=True)
        logging.captureWarnings(True)
        print(f"{stage} {dict(snakemake.wildcards.items())} versions {provenance.versions()}", file=log)
        try:
            _check_threads(snakemake.threads)
            started = time.perf_counter()
            function(**arguments)
            cost = {
                "seconds": round(time.perf_counter() - started, 3),
                "cpu_seconds": round(time.process_time(), 3),
                "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            }
        except GlitchtraceError as error:
            print(f"error: {error}", file=log)
            print(f"error in {stage}: {error}", file=console)
            sys.stderr = console
            raise SystemExit(1) from None
        except BaseException:
            traceback.print_exc(file=log)
            sys.stderr = console
            raise
    sys.stderr = console
    if record is not None:
        files.write_json(
            {
                "stage": stage,
                "wildcards": dict(snakemake.wildcards.items()),
                "parameters": _named(snakemake.params),
                "code": code,
                "versions": provenance.versions(),
                "threads": snakemake.threads,
                "data": _checksums(arguments),
                "cost": cost,
            },
            record,
        )


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
                content = json.loads(description.read_text(encoding="utf-8"))
                found[description.parent.name] = content["checksums"]
    return found
