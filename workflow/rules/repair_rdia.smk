# RDIA: one first model with its influence per cell, one relabelling and refit per method, then the study.


rule fetch_sparse_data:
    output:
        features=ensure(paths.SPARSE_FEATURES, non_empty=True),
        labels=ensure(paths.SOURCE_LABELS, non_empty=True),
        description=paths.SOURCE_DESCRIPTION,
        record=paths.record(paths.SOURCE_LABELS, "fetch_data"),
    log:
        "<logs>/fetch_data/{source}.log",
    benchmark:
        "<benchmarks>/fetch_data/{source}.jsonl"
    wildcard_constraints:
        source=sources_of(sparse=True),
    retries: 2
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
    params:
        **stage(
            "data.fetch:fetch_data",
            dataset="{source}",
        ),
    script:
        "../scripts/run_stage.py"


rule measure_rdia:
    input:
        features=source_features,
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
    output:
        influence=paths.RDIA_INFLUENCE,
        fit=ensure(paths.RDIA_FIT, non_empty=True),
        record=paths.record(paths.RDIA_INFLUENCE, "measure_rdia"),
    log:
        "<logs>/{dataset}/{learner}/{glitch}-{ratio}/seed-{seed}/rdia/measure_rdia.log",
    benchmark:
        "<benchmarks>/{dataset}/{learner}/{glitch}-{ratio}/seed-{seed}/rdia/measure_rdia.jsonl"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(rdia_memory),
    params:
        **stage(
            "papers.rdia.stage:measure_rdia",
            learner="{learner}",
            settings=settings("learner"),
        ),
    script:
        "../scripts/run_stage.py"


rule relabel_rdia:
    input:
        features=source_features,
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        influence=rules.measure_rdia.output.influence,
        fit=rules.measure_rdia.output.fit,
    output:
        repaired=paths.RDIA_REPAIRED,
        gain=paths.RDIA_GAIN,
        record=paths.record(paths.RDIA_GAIN, "relabel_rdia"),
    log:
        "<logs>/{dataset}/{learner}/{glitch}-{ratio}/seed-{seed}/rdia/{relabelling}.log",
    benchmark:
        "<benchmarks>/{dataset}/{learner}/{glitch}-{ratio}/seed-{seed}/rdia/{relabelling}.jsonl"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(rdia_memory),
    params:
        **stage(
            "papers.rdia.stage:relabel_rdia",
            learner="{learner}",
            learner_settings=settings("learner"),
            relabelling="{relabelling}",
            settings=settings("relabelling"),
            seed=lambda wildcards: int(wildcards.seed),
        ),
    script:
        "../scripts/run_stage.py"


rule summarise_rdia:
    input:
        tables=files_of(RDIA_CELLS, rules.relabel_rdia.output.gain),
    output:
        summary=paths.RDIA_SUMMARY,
    log:
        "<logs>/summarise_rdia/<study>/summary.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.summary:summarise",
            cells=RDIA_CELLS,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_rdia:
    input:
        summary=rules.summarise_rdia.output.summary,
    output:
        figures=figure_files("<study>/figures/rdia", "rdia", "RDIA"),
        table=table_file("<study>/tables/rdia.csv", "rdia", "RDIA"),
    log:
        "<logs>/plot_rdia/<study>/figure.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.rdia.figures.rdia:plot_rdia",
        ),
    script:
        "../scripts/run_stage.py"


rule tabulate_rdia_thresholds:
    input:
        summary=rules.summarise_rdia.output.summary,
    output:
        table=table_file(
            "<study>/tables/rdia_thresholds.csv", "rdia_thresholds", "RDIA"
        ),
    log:
        "<logs>/tabulate_rdia_thresholds/<study>/table.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.rdia.tables:tabulate_rdia_thresholds",
            alphas=rdia_alphas(),
        ),
    script:
        "../scripts/run_stage.py"


rule tabulate_rdia_baselines:
    input:
        summary=rules.summarise_rdia.output.summary,
    output:
        table=table_file("<study>/tables/rdia_baselines.csv", "rdia_baselines", "RDIA"),
    log:
        "<logs>/tabulate_rdia_baselines/<study>/table.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.rdia.tables:tabulate_rdia_baselines",
        ),
    script:
        "../scripts/run_stage.py"
