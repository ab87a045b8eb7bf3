"""Which figures the runs of a study allow.  Standard library only: read while the Snakefile is parsed."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from glitchtrace.core import registry
from glitchtrace.core.grid import Grid
from glitchtrace.papers.cincer.cells import PANEL_SETS, QUESTIONS

# Settings of a study's loops, by name.
Protocols = Mapping[str, Mapping[str, Any]]


def problems(runs: Grid) -> list[dict[str, str]]:
    """The datasets and models of the runs."""
    return runs.distinct("dataset", "model")


def asking(protocol: Mapping[str, Any]) -> bool:
    """Whether a loop asks questions to clean: it does not measure counter-examples, nor collect scores."""
    return bool(protocol["asks"] and not protocol["precision"])


def silent(protocol: Mapping[str, Any]) -> bool:
    """Whether a loop only collects scores."""
    return not protocol["asks"]


def loops(
    runs: Grid, protocols: Protocols, chosen: Callable[[Mapping[str, Any]], bool], **problem: str
) -> list[str]:
    """The loops of a dataset and model whose protocol is ``chosen``, sorted."""
    return sorted({run["loop"] for run in runs.rows(**problem) if chosen(protocols[run["loop"]])})


def with_loops(
    runs: Grid, protocols: Protocols, chosen: Callable[[Mapping[str, Any]], bool]
) -> list[dict[str, str]]:
    """The datasets and models with a loop whose protocol is ``chosen``."""
    return [problem for problem in problems(runs) if loops(runs, protocols, chosen, **problem)]


def curves(
    runs: Grid, protocols: Protocols, *questions: str, pictures: bool | None = None
) -> Iterator[dict[str, str]]:
    """Dataset, model, question and panels of the curves that answer the questions, by default all.

    ``pictures``: of datasets of (no) pictures alone.
    """
    for problem in problems(runs):
        asked = _asked(runs, protocols, problem)
        for question in questions or QUESTIONS:
            wanted = QUESTIONS[question]
            shown = asked if wanted is None else asked.issuperset(wanted)
            if shown and pictures in (None, _of_pictures(problem)):
                for panels in PANEL_SETS:
                    yield {**problem, "question": question, "panels": panels}


def galleries(runs: Grid, protocols: Protocols) -> list[dict[str, str]]:
    """The datasets of pictures, with their models, that CINCER's own choice was asked about."""
    return [
        problem
        for problem in problems(runs)
        if _of_pictures(problem) and "top_fisher" in _asked(runs, protocols, problem)
    ]


def budgeted(runs: Grid, protocols: Protocols) -> bool:
    """Whether some loop ends after a number of questions."""
    return any(protocols[run["loop"]]["questions"] is not None for run in runs.rows())


def _of_pictures(problem: Mapping[str, str]) -> bool:
    return bool(registry.card("dataset", problem["dataset"])["modality"] == "image")


def _asked(runs: Grid, protocols: Protocols, problem: Mapping[str, str]) -> set[str]:
    """The negotiators of the runs that ask questions to clean, by an inspector that chooses."""
    return {
        run["negotiator"]
        for run in runs.rows(**problem)
        if asking(protocols[run["loop"]]) and run["inspector"] != "always"
    }
