# Repair: an action per sample under each policy, then retraining and the gain on the test part.


# Asked anew from the evidence: a repair does not depend on which other detectors are scored.
POLICIES = {
    name: SETTINGS["policy"][name]
    for name in registry.chosen("policy", CONFIG["policies"])
}
REPAIRING, COUNTING = checked(asking.asked, POLICIES)
if CONFIG["repair"] and GRID:
    checked(asking.check_baseline, POLICIES)
# A gain needs a repair beside the baseline, and something to repair.
GAINED = CONFIG["repair"] and GRID.glitched() and len(POLICIES) > 1


rule repair_cell:
    input:
        **evidence(REPAIRING, COUNTING),
        glitch=rules.inject_glitch.output.glitch,
    output:
        repaired=paths.REPAIRED,
        record=paths.record(paths.REPAIRED, "repair_cell"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}<policies>/repair_cell.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(detection_memory(REPAIRING)),
        runtime=lasting(240),
    params:
        **stage(
            "repair.proposals:repair_cell",
            policies=POLICIES,
            detectors={name: SETTINGS["detector"].get(name, {}) for name in REPAIRING},
            counters=COUNTING,
            estimator_settings=settings("estimator"),
            seed=number("seed"),
        ),
    script:
        "../scripts/run_stage.py"


rule retrain:
    input:
        features=source_files(rules.fetch_data.output.features),
        beside=beside_training,
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        repaired=rules.repair_cell.output.repaired,
        checkpoints=rules.train.output.checkpoints,
        stored=stored_test_features,
    output:
        gain=paths.GAIN,
        record=paths.record(paths.GAIN, "retrain"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}<policies>/retrain.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}<policies>/retrain.jsonl"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(training_memory),
        runtime=lasting(training_minutes(len(POLICIES) + 1)),
        gpu=GPU,
    params:
        **stage(
            "repair.retraining:retrain",
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


rule summarise_dataset_gain:
    input:
        gains=each(dataset_cells, rules.retrain.output.gain),
    output:
        gain=paths.DATASET_GAIN,
    log:
        "<logs>/summarise_dataset_gain/<study>/{dataset}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.summary:summarise_dataset_gain",
            cells=dataset_cells,
        ),
    script:
        "../scripts/run_stage.py"


rule summarise_study_gain:
    input:
        gains=files_of(
            GRID.distinct("dataset"), rules.summarise_dataset_gain.output.gain
        ),
    output:
        gain=paths.STUDY_GAIN,
    log:
        "<logs>/summarise_study_gain/<study>/summary.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.summary:summarise_study_gain",
        ),
    script:
        "../scripts/run_stage.py"
