# Detection: all scores of one cell in one job, from its class profiles, and what else looks for wrong labels.


rule score_signals:
    input:
        profile=rules.profile_influence.output.profile,
    output:
        signals=paths.SIGNALS,
        record=paths.record(paths.SIGNALS, "score_signals"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}/score_signals.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "detectors.stage:score_signals",
            detectors=list(registry.names("signal")),
            settings=settings("estimator"),
        ),
    script:
        "../scripts/run_stage.py"


rule learn_confidently:
    input:
        features=source_files(rules.fetch_data.output.features),
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        stored=stored_features,
    output:
        confident=paths.CONFIDENT,
        record=paths.record(paths.CONFIDENT, "learn_confidently"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/learn_confidently.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/learn_confidently.jsonl"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(training_memory),
    params:
        **stage(
            "detectors.confident_learning:learn_confidently",
            dataset="{dataset}",
            model="{model}",
            settings=model_settings,
            training=training_settings,
            seed=number("seed"),
            evaluation_batch=CONFIG["evaluation_batch"],
            device=CONFIG["device"],
        ),
    script:
        "../scripts/run_stage.py"
