# Data cleansing: a recorded training, scores of its samples, and replays without the worst of them.

from glitchtrace.papers.cleansing import cells as cleansing_cells

CLEANSING_CELLS = checked(cleansing_cells.cells, CONFIG["cleansing"], SETTINGS)
CLEANSED = [cell.wildcards() for cell in CLEANSING_CELLS]
REMOVALS = cleansing_cells.removals(CLEANSING_CELLS)
FIDELITY_CELLS = cleansing_cells.fidelity_cells(CONFIG["fidelity"])
FIDELITY_KEYS = [{"task": task, "network": network} for task, network in FIDELITY_CELLS]
cleansing_cell = lambda wildcards: cleansing_cells.find(CLEANSING_CELLS, wildcards)
cleansing_methods = lambda wildcards: {
    method: SETTINGS["cleansing_method"][method]
    for method in cleansing_cell(wildcards).methods
}


rule record_training:
    input:
        features=source_files(rules.fetch_data.output.features),
        beside=beside_training,
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        stored=stored_features,
    output:
        trace=paths.TRACE,
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
        runtime=lasting(training_minutes(10)),
        gpu=GPU,
    params:
        **stage(
            "papers.cleansing.stage:record_training",
            dataset="{dataset}",
            model="{model}",
            settings=model_settings,
            training=training_settings,
            protocol=settings("protocol"),
            protocol_name="{protocol}",
            seed=number("seed"),
            device=CONFIG["device"],
        ),
    script:
        "../../scripts/run_stage.py"


rule score_cleansing:
    input:
        features=source_files(rules.fetch_data.output.features),
        beside=beside_training,
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
        runtime=lasting(training_minutes(30)),
        gpu=GPU,
    params:
        **stage(
            "papers.cleansing.stage:score_cleansing",
            dataset="{dataset}",
            model="{model}",
            settings=model_settings,
            protocol=settings("protocol"),
            cleansing_methods=cleansing_methods,
            seed=number("seed"),
            evaluation_batch=CONFIG["evaluation_batch"],
            device=CONFIG["device"],
        ),
    script:
        "../../scripts/run_stage.py"


rule remove_and_retrain:
    input:
        features=source_files(rules.fetch_data.output.features),
        beside=beside_training,
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
        runtime=lasting(training_minutes(30)),
        gpu=GPU,
    params:
        **stage(
            "papers.cleansing.stage:remove_and_retrain",
            dataset="{dataset}",
            model="{model}",
            settings=model_settings,
            protocol=settings("protocol"),
            retrained="{retrained}",
            removals=lambda wildcards: list(cleansing_cell(wildcards).removals),
            seed=number("seed"),
            evaluation_batch=CONFIG["evaluation_batch"],
            device=CONFIG["device"],
        ),
    script:
        "../../scripts/run_stage.py"


rule summarise_cleansing:
    input:
        tables=each(REMOVALS, rules.remove_and_retrain.output.removal),
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
            cells=REMOVALS,
        ),
    script:
        "../../scripts/run_stage.py"


rule summarise_cleansing_cost:
    input:
        tables=each(CLEANSED, rules.score_cleansing.output.cost),
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
            cells=CLEANSED,
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
        runtime=lasting(720),
    params:
        **stage(
            "papers.cleansing.fidelity:measure_fidelity",
            task="{task}",
            network="{network}",
            seeds=lambda wildcards: FIDELITY_CELLS[wildcards.task, wildcards.network],
        ),
    script:
        "../../scripts/run_stage.py"


rule summarise_fidelity:
    input:
        tables=each(FIDELITY_KEYS, rules.measure_fidelity.output.fidelity),
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
            cells=FIDELITY_KEYS,
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


CLEANSING_FILES = [
    where(
        CLEANSED,
        rules.plot_cleansing.output,
        rules.compare_cleansing.output.gain,
        rules.plot_cleansing_cost.output.figures,
    ),
    where(FIDELITY_KEYS, rules.plot_fidelity.output),
]
EVERYTHING += CLEANSING_FILES
RECORDS += [
    (
        CLEANSED,
        [rules.record_training.output.record, rules.score_cleansing.output.record],
    ),
    (REMOVALS, [rules.remove_and_retrain.output.record]),
    (FIDELITY_KEYS, [rules.measure_fidelity.output.record]),
]


rule cleansing:
    input:
        CLEANSING_FILES,
    localrule: True
