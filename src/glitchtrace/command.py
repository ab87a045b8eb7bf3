"""The console command: ``audit``, ``apply`` for own data; ``status``, ``plan``, ``verify``, ``workflow``."""

import argparse
import os
import sys
import unicodedata
from collections.abc import Sequence

from glitchtrace import __version__
from glitchtrace.audit.console import add_parsers
from glitchtrace.core.errors import GlitchtraceError

_INTERRUPTED = 130  # status of a command that a signal of the keyboard has ended
_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories of Unicode


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns 0, 1 after a line that says what is wrong, 130 after Ctrl-C."""
    given = _parser().parse_args(arguments)
    try:
        print(_shown(_answer(given)))
    except GlitchtraceError as error:
        print(f"error: {_shown(' '.join(str(error).splitlines()))}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder that may not be written
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {_shown(f'{place}{error.strerror or error}')}; mend this and repeat", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # On a line of its own, behind the ^C.
        print("\nstopped; the same command goes on where it was stopped", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _shown(text: str) -> str:
    """Text whose signs only show: what steers a console or turns its lines, as a cell of data may hold, is escaped."""
    return "".join(
        sign if sign == "\n" or unicodedata.category(sign) not in _STEERING else ascii(sign)[1:-1]
        for sign in text
    )


def _answer(given: argparse.Namespace) -> str:
    if given.command in ("audit", "apply"):
        from glitchtrace.audit.console import answer

        return answer(given)
    if given.command == "workflow":
        from glitchtrace.operations.jobs import shipped

        return str(shipped() / "Snakefile")
    if given.command == "verify":
        from glitchtrace.operations.verify import verify

        return verify(given.configfile, given.seed, given.cores)
    from glitchtrace.operations import report

    page = report.status if given.command == "status" else report.plan
    return page(given.configfile, given.cores)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="glitchtrace", description="Audit your own data; watch and check runs."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    add_parsers(commands)
    for name, text in (
        ("status", "what exists, what is stale and why, cells left, estimated time"),
        ("plan", "jobs, CPU time and disk of a study, from measured costs"),
        ("verify", "recompute a random whole cell elsewhere and compare its bytes"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--configfile", metavar="FILE", help="a study; the default configuration without it"
        )
        command.add_argument(
            "--cores", type=_cores, default=os.cpu_count() or 1, help="cores to run or reckon with"
        )
        if name == "verify":
            command.add_argument("--seed", type=int, default=0, help="another seed draws another cell")
    text = 'print where the workflow lies: snakemake --snakefile "$(glitchtrace workflow)"'
    commands.add_parser("workflow", help=text, description=text)
    return parser


def _cores(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of cores; write 1 or more")
    return int(text)
