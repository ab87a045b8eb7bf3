# The runs of the interactive loop, and the functions that their rules take inputs and parameters from.

from glitchtrace.repair.cincer import cells as loop_cells
from glitchtrace.repair.cincer import questions as loop_questions

try:
    LOOPS = loop_cells.cells(CONFIG["cincer"], SETTINGS)
except GlitchtraceError as error:
    raise WorkflowError(str(error))


def collect_loops(template, **keys):
    """One file per repeat whose keys equal the given ones, in the order of ``loop_rows``."""
    return [path for cell in loop_rows(**keys) for path in expand(template, **cell)]


def loop_rows(**keys):
    """Wildcards of the repeats whose keys equal the given ones."""
    return grid.rows(LOOPS, **keys)


def loop_problems():
    """Pairs of dataset and model, sorted."""
    return sorted({(cell.dataset, cell.model) for cell in LOOPS})


def collect_problem(template):
    """Input function: the files of all repeats of the wildcards' dataset and model."""
    return lambda wildcards: collect_loops(
        template, dataset=wildcards.dataset, model=wildcards.model
    )


def collect_problems(template):
    """One file per dataset and model."""
    return [
        path
        for dataset, model in loop_problems()
        for path in expand(template, dataset=dataset, model=model)
    ]


def problem_rows(wildcards):
    """The repeats of the wildcards' dataset and model."""
    return loop_rows(dataset=wildcards.dataset, model=wildcards.model)


def loop_memory(wildcards):
    """MiB of one repeat, measured: the inputs of both parts, and torch where the model needs it."""
    rows = sum(registry.card("dataset", wildcards.dataset)["rows"].values())
    torch = 0 if registry.card("model", wildcards.model)["loop"]["dense"] else 600
    return 400 + torch + int(rows * 0.012)


def plain_files(stem):
    """The files of a figure in all formats, none of which goes into the report."""
    return [f"{stem}.{extension}" for extension in CONFIG["figures"]["formats"]]


def collect_pairs(template):
    """Input function: the questions of the wildcards' dataset and model under CINCER's own choice."""
    return lambda wildcards: collect_loops(
        template,
        dataset=wildcards.dataset,
        model=wildcards.model,
        negotiator="top_fisher",
    )


def loop_figures():
    """Every figure of the interactive runs that the study allows."""
    figures = []
    for dataset, model in loop_problems():
        runs = loop_rows(dataset=dataset, model=model)
        names = {"dataset": dataset, "model": model}
        measures = [SETTINGS["loop"][run["loop"]]["precision"] for run in runs]
        if any(measures):
            figures.append(expand(rules.plot_loop_precision.output.figures, **names))
        asked = {
            run["negotiator"]
            for run, measured in zip(runs, measures)
            if not measured and run["inspector"] != "always"
        }
        for question, wanted in loop_questions.QUESTIONS.items():
            if asked and (wanted is None or set(wanted) <= asked):
                for panels in loop_questions.PANEL_SETS:
                    figures.append(
                        expand(
                            rules.plot_loops.output.figures,
                            **names,
                            question=question,
                            panels=panels,
                        )
                    )
        pictures = registry.card("dataset", dataset)["modality"] == "image"
        if pictures and "top_fisher" in asked:
            figures.append(expand(rules.plot_loop_gallery.output.figures, **names))
    return [path for group in figures for path in group]


def cincer_targets(wildcards):
    """Everything that the target ``cincer`` makes."""
    if not LOOPS:
        return []
    budgets = {SETTINGS["loop"][cell.loop]["questions"] for cell in LOOPS}
    tables = rules.tabulate_questions.output if budgets - {None} else []
    return [*rules.summarise_loops.output, *tables, *loop_figures()]
