# CINCER: interactive cleaning with counter-examples, one job per repeat.

from glitchtrace.papers.cincer import cells as loop_cells
from glitchtrace.papers.cincer import questions as loop_questions
from glitchtrace.papers.cincer import sizes as loop_sizes

LOOPS = checked(loop_cells.cells, CONFIG["cincer"], SETTINGS)
LOOP_INFLUENCE_CELLS = checked(
    loop_cells.influence_cells, CONFIG["cincer_influence"], SETTINGS
)


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


rule clean_interactively:
    input:
        features=host_file(rules.fetch_data.output.features),
    output:
        trace=paths.LOOP_TRACE,
        questions=paths.LOOP_QUESTIONS,
        record=paths.record(paths.LOOP_TRACE, "clean_interactively"),
    log:
        "<logs>/{dataset}/{model}/cincer/{loop}/{noise}-{ratio}/{inspector}-{threshold}/{negotiator}/seed-{seed}/repeat-{repeat}.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/cincer/{loop}/{noise}-{ratio}/{inspector}-{threshold}/{negotiator}/seed-{seed}/repeat-{repeat}.jsonl"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(loop_memory(one_negotiator)),
    params:
        **stage(
            "papers.cincer.stage:clean_interactively",
            model="{model}",
            model_settings=model_settings,
            protocol=settings("loop"),
            noise="{noise}",
            ratio="{ratio}",
            inspector="{inspector}",
            inspector_settings=settings("inspector"),
            threshold=lambda wildcards: float(wildcards.threshold),
            negotiator="{negotiator}",
            negotiator_settings=settings("negotiator"),
            seed=lambda wildcards: int(wildcards.seed),
            repeat=lambda wildcards: int(wildcards.repeat),
            device=CONFIG["device"],
        ),
    script:
        "../../scripts/run_stage.py"


rule gather_loops:
    input:
        parts=collect_problem(rules.clean_interactively.output.trace),
    output:
        traces=paths.LOOP_TRACES,
    log:
        "<logs>/gather_loops/<study>/{dataset}-{model}.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "papers.cincer.summary:gather_loops",
            cells=problem_rows,
        ),
    script:
        "../../scripts/run_stage.py"


rule summarise_loops:
    input:
        traces=collect_problems(rules.gather_loops.output.traces),
    output:
        summary=paths.LOOP_SUMMARY,
        table="<study>/tables/cincer.csv",
    log:
        "<logs>/summarise_loops/<study>/summary.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "papers.cincer.summary:summarise_loops",
        ),
    script:
        "../../scripts/run_stage.py"


rule tabulate_questions:
    input:
        traces=collect_problems(rules.gather_loops.output.traces),
    output:
        table="<study>/tables/cincer-questions.csv",
    log:
        "<logs>/tabulate_questions/<study>/table.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "papers.cincer.question_budget:tabulate_questions",
        ),
    script:
        "../../scripts/run_stage.py"


rule plot_loops:
    input:
        traces=rules.gather_loops.output.traces,
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/cincer-{model}/{question}-{panels}",
            "loops",
            "Interactive cleaning",
        ),
        legend=plain_files(
            "<study>/figures/{dataset}/cincer-{model}/{question}-{panels}-legend"
        ),
        table=table_file(
            "<study>/tables/{dataset}/cincer-{model}/{question}-{panels}.csv",
            "loops",
            "Interactive cleaning",
        ),
    log:
        "<logs>/plot_loops/<study>/{dataset}-{model}-{question}-{panels}.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.cincer.figures.loops:plot_loops",
            question="{question}",
            panels="{panels}",
            loops=asking_loops,
            style_by=CONFIG["figures"]["style_by"],
        ),
    script:
        "../../scripts/run_stage.py"


rule plot_loop_precision:
    input:
        traces=rules.gather_loops.output.traces,
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/cincer-{model}/precision",
            "loop_precision",
            "Interactive cleaning",
        ),
        legend=plain_files("<study>/figures/{dataset}/cincer-{model}/precision-legend"),
        table=table_file(
            "<study>/tables/{dataset}/cincer-{model}/precision.csv",
            "loop_precision",
            "Interactive cleaning",
        ),
    log:
        "<logs>/plot_loop_precision/<study>/{dataset}-{model}.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.cincer.figures.loop_precision:plot_loop_precision",
        ),
    script:
        "../../scripts/run_stage.py"


rule plot_loop_gallery:
    input:
        features=host_file(rules.fetch_data.output.features),
        questions=collect_pairs(rules.clean_interactively.output.questions),
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/cincer-{model}/pairs",
            "loop_gallery",
            "Interactive cleaning",
        ),
    log:
        "<logs>/plot_loop_gallery/<study>/{dataset}-{model}.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.cincer.figures.loop_gallery:plot_loop_gallery",
            pairs=CONFIG["figures"]["pairs"],
        ),
    script:
        "../../scripts/run_stage.py"


rule plot_loop_thresholds:
    input:
        traces=rules.gather_loops.output.traces,
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/cincer-{model}/thresholds",
            "loop_thresholds",
            "Interactive cleaning",
        ),
        table=table_file(
            "<study>/tables/{dataset}/cincer-{model}/thresholds.csv",
            "loop_thresholds",
            "Interactive cleaning",
        ),
    log:
        "<logs>/plot_loop_thresholds/<study>/{dataset}-{model}.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.cincer.figures.loop_thresholds:plot_loop_thresholds",
            loops=silent_loops,
        ),
    script:
        "../../scripts/run_stage.py"


rule measure_leave_one_out:
    input:
        features=host_file(rules.fetch_data.output.features),
    output:
        changes=paths.LOOP_CHANGES,
        record=paths.record(paths.LOOP_CHANGES, "measure_leave_one_out-{repeat}"),
    log:
        "<logs>/measure_leave_one_out/<study>/{dataset}/{model}/{loop}/{noise}-{ratio}/{refit}/seed-{seed}/repeat-{repeat}.log",
    benchmark:
        "<benchmarks>/measure_leave_one_out/<study>/{dataset}/{model}/{loop}/{noise}-{ratio}/{refit}/seed-{seed}/repeat-{repeat}.jsonl"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(loop_memory(influence_negotiators)),
    params:
        **stage(
            "papers.cincer.leave_one_out:measure_leave_one_out",
            model="{model}",
            model_settings=model_settings,
            protocol=settings("loop"),
            noise="{noise}",
            ratio="{ratio}",
            refit="{refit}",
            negotiators=influence_negotiators,
            seed=lambda wildcards: int(wildcards.seed),
            repeat=lambda wildcards: int(wildcards.repeat),
            device=CONFIG["device"],
        ),
    script:
        "../../scripts/run_stage.py"


rule summarise_leave_one_out:
    input:
        tables=influence_files,
    output:
        summary=paths.LOOP_INFLUENCE,
    log:
        "<logs>/summarise_leave_one_out/<study>/summary.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.summary:summarise",
            cells=influence_rows,
        ),
    script:
        "../../scripts/run_stage.py"


rule plot_loop_influence:
    input:
        changes=rules.summarise_leave_one_out.output.summary,
    output:
        figures=figure_files(
            "<study>/figures/cincer-influence",
            "loop_influence",
            "Interactive cleaning",
        ),
        table=table_file(
            "<study>/tables/cincer-influence.csv",
            "loop_influence",
            "Interactive cleaning",
        ),
    log:
        "<logs>/plot_loop_influence/<study>/figure.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.cincer.figures.loop_influence:plot_loop_influence",
        ),
    script:
        "../../scripts/run_stage.py"


rule cincer:
    input:
        cincer_targets,
    localrule: True


# One target per research question of the publication; each takes the runs of the configuration that answer it.


rule cincer_q1_q3_pictures:
    input:
        answering(
            "cincer_q1_q3_pictures",
            "cincer_pictures",
            lambda: loop_curves("q1", "q3", pictures=True),
        ),
    localrule: True


rule cincer_q1_q3_tables:
    input:
        answering(
            "cincer_q1_q3_tables",
            "cincer_breast",
            lambda: loop_curves("q1", "q3", pictures=False),
        ),
    localrule: True


rule cincer_q2:
    input:
        answering(
            "cincer_q2",
            "cincer_precision",
            lambda: rules.summarise_loops.output if loop_precisions() else [],
        ),
    localrule: True


rule cincer_eval_ce:
    input:
        answering("cincer_eval_ce", "cincer_precision", loop_precisions),
    localrule: True


rule cincer_eval_influence:
    input:
        answering("cincer_eval_influence", "cincer_influence", loop_influence),
    localrule: True


rule cincer_thresholds:
    input:
        answering("cincer_thresholds", "cincer_thresholds", loop_thresholds),
    localrule: True
