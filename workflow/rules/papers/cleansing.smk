# Data cleansing: a recorded training, scores of its samples, and replays without the worst of them.

from glitchtrace.papers.cleansing import cells as cleansing_cells

CLEANSING_CELLS = checked(cleansing_cells.cells, CONFIG["cleansing"], SETTINGS)
FIDELITY_CELLS = cleansing_cells.fidelity_cells(CONFIG["fidelity"])


def cleansing_cell(wildcards):
    """The cell of the study that a job's wildcards name."""
    keys = tuple(
        wildcards[key]
        for key in ("dataset", "model", "glitch", "ratio", "seed", "protocol")
    )
    return next(
        cell for cell in CLEANSING_CELLS if tuple(cell.wildcards().values()) == keys
    )


def cleansing_methods(wildcards):
    """Parameter function: the methods of the cell with their settings."""
    return {
        method: SETTINGS["cleansing_method"][method]
        for method in cleansing_cell(wildcards).methods
    }


def removal_files(wildcards):
    """The removal table of every cell and every choice of epochs that are trained again."""
    return [
        path
        for cell in CLEANSING_CELLS
        for retrained in cell.retrained
        for path in expand(paths.REMOVAL, retrained=retrained, **cell.wildcards())
    ]


def removal_cells(wildcards):
    """Parameter function: the keys of ``removal_files``, in their order."""
    return [
        {**cell.wildcards(), "retrained": retrained}
        for cell in CLEANSING_CELLS
        for retrained in cell.retrained
    ]


def cleansing_cost_files(wildcards):
    """The cost table of every cell."""
    return [
        path
        for cell in CLEANSING_CELLS
        for path in expand(paths.CLEANSING_COST, **cell.wildcards())
    ]


def cleansing_cost_cells(wildcards):
    """Parameter function: the keys of ``cleansing_cost_files``, in their order."""
    return [cell.wildcards() for cell in CLEANSING_CELLS]


def fidelity_files(wildcards):
    """The table of every task and network of the fidelity study."""
    return [
        path
        for task, network in FIDELITY_CELLS
        for path in expand(paths.FIDELITY_CELL, task=task, network=network)
    ]


def fidelity_keys(wildcards):
    """Parameter function: the keys of ``fidelity_files``, in their order."""
    return [{"task": task, "network": network} for task, network in FIDELITY_CELLS]


def fidelity_seeds(wildcards):
    """Parameter function: the trials of a task and network."""
    return FIDELITY_CELLS[wildcards.task, wildcards.network]


def cleansing_results(wildcards):
    """Every summary, figure and table of data cleansing that the study allows."""
    found = []
    if CLEANSING_CELLS:
        found += [
            rules.plot_cleansing.output.figures,
            [rules.plot_cleansing.output.table, rules.compare_cleansing.output.gain],
            rules.plot_cleansing_cost.output.figures,
        ]
    if FIDELITY_CELLS:
        found += [
            rules.plot_fidelity.output.figures,
            [rules.plot_fidelity.output.table],
        ]
    return [path for group in found for path in group]


rule record_training:
    input:
        features=source_files(rules.fetch_data.output.features),
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        stored=stored_features,
    output:
        trace=ensure(paths.TRACE, non_empty=True),
        snapshots=paths.SNAPSHOTS,
        record=paths.record(paths.TRACE, "record_training"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{protocol}/record_training.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{protocol}/record_training.jsonl"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(training_memory),
    params:
        **stage(
            "papers.cleansing.stage:record_training",
            dataset="{dataset}",
            model="{model}",
            settings=model_settings,
            training=training_settings,
            protocol=settings("protocol"),
            protocol_name="{protocol}",
            seed=lambda wildcards: int(wildcards.seed),
            device=CONFIG["device"],
        ),
    script:
        "../../scripts/run_stage.py"


rule score_cleansing:
    input:
        features=source_files(rules.fetch_data.output.features),
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        trace=rules.record_training.output.trace,
        snapshots=rules.record_training.output.snapshots,
        stored=stored_features,
    output:
        scores=paths.CLEANSING_SCORES,
        scopes=paths.CLEANSING_SCOPES,
        cost=paths.CLEANSING_COST,
        record=paths.record(paths.CLEANSING_SCORES, "score_cleansing"),
    log:
        "<logs>/cleansing/<study>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{protocol}/score_cleansing.log",
    benchmark:
        "<benchmarks>/cleansing/<study>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{protocol}/score_cleansing.jsonl"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(training_memory),
    params:
        **stage(
            "papers.cleansing.stage:score_cleansing",
            dataset="{dataset}",
            model="{model}",
            settings=model_settings,
            protocol=settings("protocol"),
            cleansing_methods=cleansing_methods,
            seed=lambda wildcards: int(wildcards.seed),
            evaluation_batch=CONFIG["evaluation_batch"],
            device=CONFIG["device"],
        ),
    script:
        "../../scripts/run_stage.py"


rule remove_and_retrain:
    input:
        features=source_files(rules.fetch_data.output.features),
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        trace=rules.record_training.output.trace,
        scores=rules.score_cleansing.output.scores,
        stored=stored_test_features,
    output:
        removal=paths.REMOVAL,
        record=paths.record(paths.REMOVAL, "remove_and_retrain-{retrained}"),
    log:
        "<logs>/cleansing/<study>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{protocol}/remove_and_retrain-{retrained}.log",
    benchmark:
        "<benchmarks>/cleansing/<study>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{protocol}/remove_and_retrain-{retrained}.jsonl"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(training_memory),
    params:
        **stage(
            "papers.cleansing.stage:remove_and_retrain",
            dataset="{dataset}",
            model="{model}",
            settings=model_settings,
            protocol=settings("protocol"),
            retrained="{retrained}",
            removals=lambda wildcards: list(cleansing_cell(wildcards).removals),
            seed=lambda wildcards: int(wildcards.seed),
            evaluation_batch=CONFIG["evaluation_batch"],
            device=CONFIG["device"],
        ),
    script:
        "../../scripts/run_stage.py"


rule summarise_cleansing:
    input:
        tables=removal_files,
    output:
        summary=paths.CLEANSING,
    log:
        "<logs>/summarise_cleansing/<study>/summary.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.summary:summarise",
            cells=removal_cells,
        ),
    script:
        "../../scripts/run_stage.py"


rule summarise_cleansing_cost:
    input:
        tables=cleansing_cost_files,
    output:
        summary=paths.CLEANSING_COSTS,
    log:
        "<logs>/summarise_cleansing_cost/<study>/summary.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.summary:summarise",
            cells=cleansing_cost_cells,
        ),
    script:
        "../../scripts/run_stage.py"


rule compare_cleansing:
    input:
        removal=rules.summarise_cleansing.output.summary,
    output:
        gain=paths.CLEANSING_GAIN,
    log:
        "<logs>/compare_cleansing/<study>/summary.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "papers.cleansing.comparison:compare_cleansing",
        ),
    script:
        "../../scripts/run_stage.py"


rule plot_cleansing:
    input:
        removal=rules.summarise_cleansing.output.summary,
        gain=rules.compare_cleansing.output.gain,
    output:
        figures=figure_files("<study>/figures/cleansing", "cleansing", "Cleansing"),
        table=table_file("<study>/tables/cleansing.csv", "cleansing", "Cleansing"),
    log:
        "<logs>/plot_cleansing/<study>/figure.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.cleansing.figures:plot_cleansing",
        ),
    script:
        "../../scripts/run_stage.py"


rule plot_cleansing_cost:
    input:
        cost=rules.summarise_cleansing_cost.output.summary,
    output:
        figures=figure_files(
            "<study>/figures/cleansing-cost", "cleansing_cost", "Cleansing"
        ),
        table=table_file(
            "<study>/tables/cleansing-cost.csv", "cleansing_cost", "Cleansing"
        ),
    log:
        "<logs>/plot_cleansing_cost/<study>/figure.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.cleansing.figures:plot_cleansing_cost",
        ),
    script:
        "../../scripts/run_stage.py"


rule measure_fidelity:
    output:
        fidelity=paths.FIDELITY_CELL,
        record=paths.record(paths.FIDELITY_CELL, "measure_fidelity-{network}"),
    log:
        "<logs>/fidelity/<study>/{task}/{network}.log",
    benchmark:
        "<benchmarks>/fidelity/<study>/{task}/{network}.jsonl"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        **stage(
            "papers.cleansing.fidelity:measure_fidelity",
            task="{task}",
            network="{network}",
            seeds=fidelity_seeds,
        ),
    script:
        "../../scripts/run_stage.py"


rule summarise_fidelity:
    input:
        tables=fidelity_files,
    output:
        summary=paths.FIDELITY,
    log:
        "<logs>/summarise_fidelity/<study>/summary.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.summary:summarise",
            cells=fidelity_keys,
        ),
    script:
        "../../scripts/run_stage.py"


rule plot_fidelity:
    input:
        fidelity=rules.summarise_fidelity.output.summary,
    output:
        figures=figure_files("<study>/figures/fidelity", "fidelity", "Cleansing"),
        table=table_file("<study>/tables/fidelity.csv", "fidelity", "Cleansing"),
    log:
        "<logs>/plot_fidelity/<study>/figure.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.cleansing.figures:plot_fidelity",
        ),
    script:
        "../../scripts/run_stage.py"


rule cleansing:
    input:
        cleansing_results,
    localrule: True
