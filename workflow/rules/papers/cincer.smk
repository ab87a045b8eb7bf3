# CINCER: interactive cleaning with counter-examples, one job per repeat.

from glitchtrace.papers.cincer import cells as loop_cells
from glitchtrace.papers.cincer import runs as loop_runs

LOOPS = grid.Grid(
    cell.wildcards() for cell in checked(loop_cells.cells, CONFIG["cincer"], SETTINGS)
)
LOOP_INFLUENCE_CELLS = checked(
    loop_cells.influence_cells, CONFIG["cincer_influence"], SETTINGS
)
INFLUENCE_KEYS = (*loop_cells.INFLUENCE_AXES.values(), "repeat")
INFLUENCE_ROWS = [dict(zip(INFLUENCE_KEYS, keys)) for keys in LOOP_INFLUENCE_CELLS]
PROTOCOLS = SETTINGS["loop"]
CINCER = "Interactive cleaning"

problem = lambda wildcards: {"dataset": wildcards.dataset, "model": wildcards.model}
problem_rows = lambda wildcards: LOOPS.rows(**problem(wildcards))
one_negotiator = lambda wildcards: [wildcards.negotiator]
influence_negotiators = lambda wildcards: LOOP_INFLUENCE_CELLS[
    tuple(wildcards[name] for name in INFLUENCE_KEYS)
]
negotiator_settings = lambda names: lambda wildcards: {
    name: SETTINGS["negotiator"][name] for name in names(wildcards)
}
loop_memory = lambda names: lambda wildcards: loop_cells.loop_memory(
    dataset=wildcards.dataset,
    model=wildcards.model,
    model_settings=SETTINGS["model"][wildcards.model],
    protocol=PROTOCOLS[wildcards.loop],
    noise=wildcards.noise,
    negotiators=negotiator_settings(names)(wildcards),
)


rule clean_interactively:
    input:
        features=host_file(rules.fetch_data.output.features),
        beside=beside_host,
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
        runtime=lasting(720),
        gpu=GPU,
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
            seed=number("seed"),
            repeat=number("repeat"),
            device=CONFIG["device"],
        ),
    script:
        "../../scripts/run_stage.py"


rule gather_loops:
    input:
        parts=each(problem_rows, rules.clean_interactively.output.trace),
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
            "papers.cincer.tables:gather_loops",
            cells=problem_rows,
        ),
    script:
        "../../scripts/run_stage.py"


rule summarise_loops:
    input:
        traces=each(loop_runs.problems(LOOPS), rules.gather_loops.output.traces),
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
            "papers.cincer.tables:summarise_loops",
        ),
    script:
        "../../scripts/run_stage.py"


rule tabulate_questions:
    input:
        traces=each(loop_runs.problems(LOOPS), rules.gather_loops.output.traces),
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
            "papers.cincer.tables:tabulate_questions",
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
            CINCER,
        ),
        legend=plain_files(
            "<study>/figures/{dataset}/cincer-{model}/{question}-{panels}-legend"
        ),
        table=table_file(
            "<study>/tables/{dataset}/cincer-{model}/{question}-{panels}.csv",
            "loops",
            CINCER,
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
            "papers.cincer.figures:plot_loops",
            question="{question}",
            panels="{panels}",
            loops=lambda wildcards: loop_runs.loops(
                LOOPS, PROTOCOLS, loop_runs.asking, **problem(wildcards)
            ),
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
            CINCER,
        ),
        legend=plain_files("<study>/figures/{dataset}/cincer-{model}/precision-legend"),
        table=table_file(
            "<study>/tables/{dataset}/cincer-{model}/precision.csv",
            "loop_precision",
            CINCER,
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
            "papers.cincer.figures:plot_loop_precision",
        ),
    script:
        "../../scripts/run_stage.py"


rule plot_loop_gallery:
    input:
        features=host_file(rules.fetch_data.output.features),
        beside=beside_host,
        questions=each(
            lambda wildcards: LOOPS.rows(
                **problem(wildcards), negotiator="top_fisher"
            ),
            rules.clean_interactively.output.questions,
        ),
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/cincer-{model}/pairs",
            "loop_gallery",
            CINCER,
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
            "papers.cincer.sample_figures:plot_loop_gallery",
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
            CINCER,
        ),
        table=table_file(
            "<study>/tables/{dataset}/cincer-{model}/thresholds.csv",
            "loop_thresholds",
            CINCER,
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
            "papers.cincer.figures:plot_loop_thresholds",
            loops=lambda wildcards: loop_runs.loops(
                LOOPS, PROTOCOLS, loop_runs.silent, **problem(wildcards)
            ),
        ),
    script:
        "../../scripts/run_stage.py"


rule measure_leave_one_out:
    input:
        features=host_file(rules.fetch_data.output.features),
        beside=beside_host,
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
        runtime=lasting(720),
        gpu=GPU,
    params:
        **stage(
            "papers.cincer.leave_one_out:measure_leave_one_out",
            model="{model}",
            model_settings=model_settings,
            protocol=settings("loop"),
            noise="{noise}",
            ratio="{ratio}",
            refit="{refit}",
            negotiators=negotiator_settings(influence_negotiators),
            seed=number("seed"),
            repeat=number("repeat"),
            device=CONFIG["device"],
        ),
    script:
        "../../scripts/run_stage.py"


rule summarise_leave_one_out:
    input:
        tables=each(INFLUENCE_ROWS, rules.measure_leave_one_out.output.changes),
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
            cells=INFLUENCE_ROWS,
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
            CINCER,
        ),
        table=table_file(
            "<study>/tables/cincer-influence.csv",
            "loop_influence",
            CINCER,
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
            "papers.cincer.sample_figures:plot_loop_influence",
        ),
    script:
        "../../scripts/run_stage.py"


# --- what a target asks for, by the runs of the study ----------------------------------------------------------------

curves = lambda *questions, pictures=None: each(
    list(loop_runs.curves(LOOPS, PROTOCOLS, *questions, pictures=pictures)),
    rules.plot_loops.output.figures,
)
loop_precisions = each(
    loop_runs.with_loops(LOOPS, PROTOCOLS, lambda protocol: protocol["precision"]),
    rules.plot_loop_precision.output.figures,
)
loop_thresholds = each(
    loop_runs.with_loops(LOOPS, PROTOCOLS, loop_runs.silent),
    rules.plot_loop_thresholds.output.figures,
)
loop_influence = where(LOOP_INFLUENCE_CELLS, rules.plot_loop_influence.output.figures)
CINCER_FILES = [
    where(LOOPS, rules.summarise_loops.output),
    where(loop_runs.budgeted(LOOPS, PROTOCOLS), rules.tabulate_questions.output),
    loop_precisions,
    curves(),
    each(loop_runs.galleries(LOOPS, PROTOCOLS), rules.plot_loop_gallery.output.figures),
    loop_thresholds,
    loop_influence,
]
EVERYTHING += CINCER_FILES
RECORDS += [
    (LOOPS.rows(), [rules.clean_interactively.output.record]),
    (INFLUENCE_ROWS, [rules.measure_leave_one_out.output.record]),
]


rule cincer:
    input:
        CINCER_FILES,
    localrule: True


# One target per research question of the publication; each takes the runs of the configuration that answer it.
for target, study, files in (
    ("cincer_q1_q3_pictures", "cincer_pictures", curves("q1", "q3", pictures=True)),
    ("cincer_q1_q3_tables", "cincer_breast", curves("q1", "q3", pictures=False)),
    (
        "cincer_q2",
        "cincer_precision",
        where(loop_precisions(), rules.summarise_loops.output),
    ),
    ("cincer_eval_ce", "cincer_precision", loop_precisions),
    ("cincer_eval_influence", "cincer_influence", loop_influence),
    ("cincer_thresholds", "cincer_thresholds", loop_thresholds),
):

    rule:
        name:
            target
        input:
            answering(target, study, files),
        localrule: True
