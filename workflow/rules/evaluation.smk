# Evaluation: one cell, then one dataset, then the study; each reads exactly its inputs.


rule evaluate_cell:
    input:
        scores=rules.detect.output.scores,
        numbers=[rules.detect.output.numbers] if COUNTERS else [],
        glitch=rules.inject_glitch.output.glitch,
        history=rules.train.output.history,
        records=[
            rules.train.output.record,
            rules.profile_influence.output.record,
            rules.detect.output.record,
        ],
    output:
        metrics=paths.METRICS,
        cost=paths.COST,
        record=paths.record(paths.METRICS, "evaluate_cell"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}<detectors>/evaluate_cell.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.stage:evaluate_cell",
            published_contamination=published_contamination,
        ),
    script:
        "../scripts/run_stage.py"


rule evaluate_epochs:
    input:
        profile=rules.profile_influence.output.profile,
        glitch=rules.inject_glitch.output.glitch,
    output:
        epochs=paths.EPOCHS,
        record=paths.record(paths.EPOCHS, "evaluate_epochs"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}/evaluate_epochs.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.epochs:evaluate_epochs",
        ),
    script:
        "../scripts/run_stage.py"


rule summarise_dataset:
    input:
        metrics=each(dataset_cells, rules.evaluate_cell.output.metrics),
        costs=each(dataset_cells, rules.evaluate_cell.output.cost),
    output:
        summary=paths.DATASET_SUMMARY,
        cost=paths.DATASET_COST,
    log:
        "<logs>/summarise_dataset/<study>/{dataset}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.summary:summarise_dataset",
            cells=dataset_cells,
        ),
    script:
        "../scripts/run_stage.py"


rule summarise_study:
    input:
        metrics=files_of(
            GRID.distinct("dataset"), rules.summarise_dataset.output.summary
        ),
        costs=files_of(GRID.distinct("dataset"), rules.summarise_dataset.output.cost),
    output:
        summary=paths.SUMMARY,
        cost=paths.STUDY_COST,
    log:
        "<logs>/summarise_study/<study>/summary.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.summary:summarise_study",
        ),
    script:
        "../scripts/run_stage.py"


rule compare_signals:
    input:
        summary=rules.summarise_study.output.summary,
    output:
        comparison=paths.COMPARISON,
    log:
        "<logs>/compare_signals/<study>/comparison.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.comparison:compare_signals",
            metric=HEADLINE,
        ),
    script:
        "../scripts/run_stage.py"
