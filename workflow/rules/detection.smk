# Detection: all scores of one cell in one job, from exactly the evidence that its detectors need.


# Piece of evidence -> the file of a cell that holds it.
EVIDENCE = {
    "profile": ("profile", rules.profile_influence.output.profile),
    "probabilities": ("factors", rules.train.output.factors),
    "epochs": ("factors", rules.train.output.factors),
    "features": ("factors", rules.train.output.factors),
    "validation": ("factors", rules.train.output.factors),
    "out_of_fold": ("out_of_fold", paths.OUT_OF_FOLD),
    "pictures": ("pictures", rules.fetch_data.output.features),
}


rule cross_fit:
    input:
        features=source_files(rules.fetch_data.output.features),
        beside=beside_training,
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        stored=stored_features,
    output:
        out_of_fold=paths.OUT_OF_FOLD,
        record=paths.record(paths.OUT_OF_FOLD, "cross_fit"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/cross_fit.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/cross_fit.jsonl"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(training_memory),
        runtime=lasting(training_minutes(6)),
        gpu=GPU,
    params:
        **stage(
            "training.cross_fitting:cross_fit",
            dataset="{dataset}",
            model="{model}",
            settings=model_settings,
            training=training_settings,
            seed=number("seed"),
            evaluation_batch=CONFIG["evaluation_batch"],
            device=CONFIG["device"],
            share=True,
        ),
    script:
        "../scripts/run_stage.py"


rule detect:
    input:
        **evidence(DETECTORS, COUNTERS),
        glitch=rules.inject_glitch.output.glitch,
        features=further_sources(rules.fetch_data.output.features),
        beside=further_sources(*BESIDE),
        split=further_split,
        stored=further_features,
    output:
        **({"numbers": paths.NUMBERS} if COUNTERS else {}),
        scores=paths.SCORES,
        record=paths.record(paths.SCORES, "detect"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}<detectors>/detect.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(detection_memory(DETECTORS)),
        runtime=lasting(240),
    params:
        **stage(
            "detectors.stage:detect_cell",
            detectors=fitting,
            dataset="{dataset}",
            representations=further_representations,
            counters=COUNTERS,
            settings=detector_settings(DETECTORS),
            estimator_settings=settings("estimator"),
            seed=number("seed"),
            share=True,
        ),
    script:
        "../scripts/run_stage.py"
