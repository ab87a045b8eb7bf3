"""The annotator: ``python -m glitchtrace.papers.cincer.person --dataset mnist --model fullnet --folder mine``.

Data of one's own: ``--data rows.csv --label column`` in the place of ``--dataset``.

Run in the folder of the project.  Components and their variants are those of the configuration; ``--configfile``
merges a study into it, as in the workflow.
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from glitchtrace.core import configuration, files, paths, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.jobs import check_arrays
from glitchtrace.data.fetch import fetch_data
from glitchtrace.papers.cincer import cells
from glitchtrace.papers.cincer.person import own_data
from glitchtrace.papers.cincer.person.page import PageServer
from glitchtrace.papers.cincer.person.session import Samples, Session
from glitchtrace.papers.cincer.person.terminal import annotate_in_terminal
from glitchtrace.papers.cincer.problem import load_problem
from glitchtrace.papers.cincer.settings import LoopSettings
from glitchtrace.papers.cincer.stage import AskingRepeat, open_loop


def main(arguments: list[str] | None = None) -> int:
    """Ask in the terminal, or serve the page until interrupted; 1 after an error, said in one line."""
    options = _parser().parse_args(arguments)
    try:
        session, samples = open_session(options)
        with session:
            if options.page:
                with PageServer(session, samples, options.port) as server:
                    print(f"open {server.address} in a browser on this machine; Ctrl-C stops")
                    server.serve_forever()
            else:
                annotate_in_terminal(session, samples, read=input, write=print)
    except KeyboardInterrupt:
        # On a line of its own, behind the ^C.
        print(f"\nstopped; every answer is in {options.folder}, nothing is lost: the same command goes on")
    except GlitchtraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def open_session(options: argparse.Namespace) -> tuple[Session, Samples]:
    """The session of the options, its data fetched where they are not at hand."""
    own, results = options.data is not None, options.results
    if own:
        if options.label is None:
            raise GlitchtraceError(
                f"{options.data}: say which column is the label, or which .npy; give --label"
            )
        results = str(Path(options.folder) / "data")
        options.dataset = own_data.register(options.data, options.label, Path(results))
    chosen = {name: str(getattr(options, name)) for name in cells.AXES.values()}
    config = _configuration(options, chosen)
    settings = config["settings"]
    cells.cells(config["cincer"], settings)
    source = registry.base_name(options.dataset)
    stored = {
        name: paths.fill(template, results=results, source=source)
        for name, template in (
            ("features", paths.SOURCE_FEATURES),
            ("labels", paths.SOURCE_LABELS),
            ("description", paths.SOURCE_DESCRIPTION),
        )
    }
    # A file of the person's own is read anew: where it has changed, the session says so.
    if own or not all(Path(path).is_file() for path in stored.values()):
        fetch_data(
            dataset=source,
            features=stored["features"],
            labels=stored["labels"],
            description=stored["description"],
            data_root=config["data_root"],
        )
    check_arrays(stored)
    protocol = LoopSettings(**settings["loop"][chosen["loop"]])
    repeat = AskingRepeat(
        model=chosen["model"],
        model_settings={k: v for k, v in settings["model"][chosen["model"]].items() if k != "training"},
        protocol=protocol,
        noise=chosen["noise"],
        ratio=chosen["ratio"],
        inspector=chosen["inspector"],
        inspector_settings=settings["inspector"][chosen["inspector"]],
        threshold=float(chosen["threshold"]),
        negotiator=chosen["negotiator"],
        negotiator_settings=settings["negotiator"][chosen["negotiator"]],
        seed=int(chosen["seed"]),
        repeat=options.repeat,
        device=config["device"],
    )
    loop = open_loop(load_problem(stored["features"], bits=protocol.bits, split=protocol.split), repeat)
    data = {Path(path).name: files.crc32(path) for path in stored.values()}
    identity = {"dataset": options.dataset, **asdict(repeat), "data": data}
    del identity["device"]  # decides no answer
    return Session(loop, options.folder, identity), Samples(stored["features"])


def _configuration(options: argparse.Namespace, chosen: dict[str, str]) -> dict[str, Any]:
    """The resolved configuration with one block: the session."""
    config = default = configuration.read(configuration.DEFAULT)
    given_by = [configuration.DEFAULT]
    if options.configfile:
        given_by.append(options.configfile)
        config = configuration.merge(config, configuration.read(options.configfile))
    block: dict[str, Any] = {axis: [chosen[name]] for axis, name in cells.AXES.items()}
    block |= {"seeds": [options.seed], "repeats": options.repeat + 1}
    return configuration.complete({**config, "grid": [], "cincer": [block]}, default, given_by=given_by)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m glitchtrace.papers.cincer.person", description=__doc__)
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--dataset", help="dataset name")
    data.add_argument("--data", help="a file of your own: CSV, TSV, Parquet, Feather, or .npy of features")
    parser.add_argument("--label", help="with --data: the column of the labels, or their .npy")
    parser.add_argument("--model", default="fullnet", help="model name (default: %(default)s)")
    parser.add_argument("--loop", default="interactive", help="name of the loop (default: %(default)s)")
    parser.add_argument("--noise", default="random", help="kind of injected noise (default: %(default)s)")
    parser.add_argument("--ratio", default="clean", help="share of wrong labels to inject (default: none)")
    parser.add_argument("--inspector", default="margin", help="inspector name (default: %(default)s)")
    parser.add_argument(
        "--threshold", default="0.2", help="threshold of the inspector (default: %(default)s)"
    )
    parser.add_argument("--negotiator", default="top_fisher", help="negotiator name (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="run seed (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=0, help="repeat, from 0 (default: %(default)s)")
    parser.add_argument("--configfile", help="a study whose settings are merged into the configuration")
    parser.add_argument(
        "--results", default="results", help="results folder with the sources (default: %(default)s)"
    )
    parser.add_argument("--folder", required=True, help="folder of the session; an existing session goes on")
    parser.add_argument(
        "--page", action="store_true", help="serve a page to this machine instead of asking here"
    )
    parser.add_argument("--port", type=int, default=0, help="port of the page (default: a free one)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
