# The runs of the interactive loop, and the functions that their rules take inputs and parameters from.

from glitchtrace.papers.cincer import cells as loop_cells
from glitchtrace.papers.cincer import questions as loop_questions
from glitchtrace.papers.cincer import sizes as loop_sizes

try:
    LOOPS = loop_cells.cells(CONFIG["cincer"], SETTINGS)
    LOOP_INFLUENCE_CELLS = loop_cells.influence_cells(
        CONFIG["cincer_influence"], SETTINGS
    )
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


def loop_memory(negotiators):
    """Resource function: MiB of one repeat whose negotiators the given parameter function names."""

    def memory(wildcards):
        return loop_sizes.loop_memory(
            dataset=wildcards.dataset,
            model=wildcards.model,
            model_settings=SETTINGS["model"][wildcards.model],
            protocol=SETTINGS["loop"][wildcards.loop],
            noise=wildcards.noise,
            negotiators=negotiators(wildcards),
        )

    return memory


def one_negotiator(wildcards):
    """Name -> settings of the wildcards' negotiator."""
    return {wildcards.negotiator: SETTINGS["negotiator"][wildcards.negotiator]}


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


def asking(run):
    """Whether a run asks questions to clean: it does not measure counter-examples, nor collect scores."""
    protocol = SETTINGS["loop"][run["loop"]]
    return protocol["asks"] and not protocol["precision"]


def asking_loops(wildcards):
    """Parameter function: the loops of the wildcards' dataset and model that ask to clean."""
    return sorted({run["loop"] for run in problem_rows(wildcards) if asking(run)})


def silent_loops(wildcards):
    """Parameter function: the loops of the wildcards' dataset and model that only collect scores."""
    runs = problem_rows(wildcards)
    return sorted(
        {run["loop"] for run in runs if not SETTINGS["loop"][run["loop"]]["asks"]}
    )


def loop_curves(*questions, pictures=None):
    """Curves that answer the questions, by default all, of all problems or of (no) ``pictures`` alone."""
    found = []
    for dataset, model in loop_problems():
        image = registry.card("dataset", dataset)["modality"] == "image"
        asked = {
            run["negotiator"]
            for run in loop_rows(dataset=dataset, model=model)
            if asking(run) and run["inspector"] != "always"
        }
        for question in questions or loop_questions.QUESTIONS:
            wanted = loop_questions.QUESTIONS[question]
            shown = asked if wanted is None else asked.issuperset(wanted)
            if shown and pictures in (None, image):
                found += expand(
                    rules.plot_loops.output.figures,
                    dataset=dataset,
                    model=model,
                    question=question,
                    panels=loop_questions.PANEL_SETS,
                )
    return found


def loop_galleries():
    """Galleries of pairs of every dataset of pictures that CINCER's own choice was asked about."""
    return [
        path
        for dataset, model in loop_problems()
        if registry.card("dataset", dataset)["modality"] == "image"
        and any(
            asking(run) and run["inspector"] != "always"
            for run in loop_rows(dataset=dataset, model=model, negotiator="top_fisher")
        )
        for path in expand(
            rules.plot_loop_gallery.output.figures, dataset=dataset, model=model
        )
    ]


def loop_problem_figures(rule, chosen):
    """The figures of a rule for every dataset and model with a run whose protocol is ``chosen``."""
    return [
        path
        for dataset, model in loop_problems()
        if any(
            chosen(SETTINGS["loop"][run["loop"]])
            for run in loop_rows(dataset=dataset, model=model)
        )
        for path in expand(rule.output.figures, dataset=dataset, model=model)
    ]


def loop_precisions():
    """Bars of the precision of counter-examples."""
    return loop_problem_figures(
        rules.plot_loop_precision, lambda protocol: protocol["precision"]
    )


def loop_thresholds():
    """Scores of arriving samples with the thresholds found from them."""
    return loop_problem_figures(
        rules.plot_loop_thresholds, lambda protocol: not protocol["asks"]
    )


def influence_rows(wildcards):
    """Parameter function: the keys of ``influence_files``, in their order."""
    names = (*loop_cells.INFLUENCE_AXES.values(), "repeat")
    return [dict(zip(names, cell)) for cell in LOOP_INFLUENCE_CELLS]


def influence_files(wildcards):
    """The table of every repeat of the leave-one-out study."""
    return [
        path
        for keys in influence_rows(wildcards)
        for path in expand(paths.LOOP_CHANGES, **keys)
    ]


def influence_negotiators(wildcards):
    """Parameter function: negotiator -> settings of a repeat of the leave-one-out study."""
    names = (*loop_cells.INFLUENCE_AXES.values(), "repeat")
    chosen = LOOP_INFLUENCE_CELLS[tuple(wildcards[name] for name in names)]
    return {name: SETTINGS["negotiator"][name] for name in chosen}


def loop_influence():
    """Scores against the true effect of leaving samples out."""
    return (
        list(rules.plot_loop_influence.output.figures) if LOOP_INFLUENCE_CELLS else []
    )


def cincer_targets(wildcards):
    """Everything that the target ``cincer`` makes."""
    found = loop_influence()
    if not LOOPS:
        return found
    budgets = {SETTINGS["loop"][cell.loop]["questions"] for cell in LOOPS}
    tables = rules.tabulate_questions.output if budgets - {None} else []
    return [
        *rules.summarise_loops.output,
        *tables,
        *loop_precisions(),
        *loop_curves(),
        *loop_galleries(),
        *loop_thresholds(),
        *found,
    ]
