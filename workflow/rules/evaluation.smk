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


# A comparison needs two detectors and something to find.
COMPARED = any(len(detectors_of(cell["dataset"])) > 1 for cell in GRID.glitched())


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


# --- truth: the cell trained again without some of its samples, and how well each estimator foretells it -----------


rule retrain_subsets:
    input:
        checkpoints=rules.train.output.checkpoints,
        features=source_files(rules.fetch_data.output.features),
        beside=beside_training,
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        stored=stored_features,
    output:
        truth=paths.TRUTH,
        record=paths.record(paths.TRUTH, "retrain_subsets"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/<truth>/retrain_subsets.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/<truth>/retrain_subsets.jsonl"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        # Trainings run side by side in 256 MiB; torch.func takes 100.
        mem_mb=growing(lambda wildcards: training_memory(wildcards) + 400),
        # In both orders, without subsets of three sizes and without single samples.
        runtime=lasting(
            training_minutes(
                6 * CONFIG["truth"]["subsets"] + 2 * CONFIG["truth"]["left_out"]
            )
        ),
    params:
        **stage(
            "evaluation.truth:retrain_subsets",
            dataset="{dataset}",
            model="{model}",
            model_settings=model_settings,
            training=training_settings,
            seed=number("seed"),
            subsets=CONFIG["truth"]["subsets"],
            left_out=CONFIG["truth"]["left_out"],
        ),
    script:
        "../scripts/run_stage.py"


rule measure_truth:
    input:
        truth=rules.retrain_subsets.output.truth,
        influence=rules.compute_influence.output.influence,
    output:
        fidelity=paths.TRUTH_MEASURES,
        record=paths.record(paths.TRUTH_MEASURES, "measure_truth"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}/<truth>/measure_truth.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.truth:measure_truth",
        ),
    script:
        "../scripts/run_stage.py"


rule summarise_truth:
    input:
        tables=each(GRID.rows(), rules.measure_truth.output.fidelity),
        records=each(GRID.rows(), rules.compute_influence.output.record),
    output:
        summary=paths.TRUTH_SUMMARY,
    log:
        "<logs>/summarise_truth/<study>/summary.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.truth:summarise_truth",
            cells=GRID.rows(),
        ),
    script:
        "../scripts/run_stage.py"


rule truth:
    input:
        answering(
            "truth",
            "fidelity",
            where(GRID, rules.summarise_truth.output.summary),
        ),
    localrule: True
