# Repair: an action per sample under each policy, then retraining and the gain on the test part.


rule repair_cell:
    input:
        signals=rules.score_signals.output.signals,
        glitch=rules.inject_glitch.output.glitch,
    output:
        repaired=paths.REPAIRED,
        record=paths.record(paths.REPAIRED, "repair_cell"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}/repair_cell.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=600,
    params:
        policies=CONFIG["policies"],
        seed=lambda wildcards: int(wildcards.seed),
        code=code_of("glitchtrace.repair.proposals", "policy", CONFIG["policies"]),
    script:
        "../scripts/repair_cell.py"


rule retrain:
    input:
        features=source_files(rules.fetch_data.output.features),
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        repaired=rules.repair_cell.output.repaired,
        checkpoints=rules.train.output.checkpoints,
    output:
        gain=paths.GAIN,
        record=paths.record(paths.GAIN, "retrain"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}/retrain.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}/retrain.jsonl"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=training_memory,
    params:
        dataset="{dataset}",
        model="{model}",
        settings=model_settings,
        training=training_settings,
        seed=lambda wildcards: int(wildcards.seed),
        evaluation_batch=CONFIG["evaluation_batch"],
        device=CONFIG["device"],
        code=code("glitchtrace.repair.retraining", "dataset", "model"),
    script:
        "../scripts/retrain.py"
