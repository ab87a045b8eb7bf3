# Influence: the matrix J as a file of its own, and the class profiles, streamed, that all signals are made from.


rule compute_influence:
    input:
        factors=rules.train.output.factors,
        checkpoints=rules.train.output.checkpoints,
        features=source_files(rules.fetch_data.output.features),
        beside=beside_training,
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        stored=stored_features,
    output:
        influence=paths.INFLUENCE,
        record=paths.record(paths.INFLUENCE, "compute_influence"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}/compute_influence.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}/compute_influence.jsonl"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(influence_memory("compute_influence")),
        runtime=lasting(influence_minutes),
    params:
        **stage(
            "influence.stage:compute_influence",
            dataset="{dataset}",
            model="{model}",
            model_settings=model_settings,
            estimator="{estimator}",
            settings=settings("estimator"),
            training=training_settings,
            seed=lambda wildcards: int(wildcards.seed),
        ),
    script:
        "../scripts/run_stage.py"


rule profile_influence:
    input:
        factors=rules.train.output.factors,
        checkpoints=rules.train.output.checkpoints,
        features=source_files(rules.fetch_data.output.features),
        beside=beside_training,
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        stored=stored_features,
    output:
        profile=paths.PROFILE,
        record=paths.record(paths.PROFILE, "profile_influence"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}/profile_influence.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/{estimator}/profile_influence.jsonl"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(influence_memory("profile_influence")),
        runtime=lasting(influence_minutes),
    params:
        **stage(
            "influence.stage:profile_influence",
            dataset="{dataset}",
            model="{model}",
            model_settings=model_settings,
            estimator="{estimator}",
            settings=settings("estimator"),
            training=training_settings,
            seed=lambda wildcards: int(wildcards.seed),
        ),
    script:
        "../scripts/run_stage.py"
