# Features of frozen backbones: each picture passes once; what is at hand is kept in <results>/features and serves
# all cells, seeds and studies.


rule extract_features:
    input:
        features=source_files(rules.fetch_data.output.features),
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        weights=local_weights,
    output:
        stored=paths.FEATURES,
        record=paths.record(paths.FEATURES, "extract_features"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/extract_features.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/extract_features.jsonl"
    conda:
        "../../envs/environment.yaml"
    # One pass at a time through a network of this size; sixteen jobs of one thread beat one of sixteen.
    threads: 1
    resources:
        mem_mb=growing(extraction_memory),
    params:
        **stage(
            "training.features:extract_features",
            model="{model}",
            settings=model_settings,
            device=CONFIG["device"],
        ),
    script:
        "../scripts/run_stage.py"


rule extract_test_features:
    input:
        features=host_files(rules.fetch_data.output.features),
        split=rules.prepare_data.output.split,
        weights=local_weights,
    output:
        stored=paths.TEST_FEATURES,
        record=paths.record(paths.TEST_FEATURES, "extract_test_features"),
    log:
        "<logs>/{dataset}/{model}/seed-{seed}/extract_test_features.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/seed-{seed}/extract_test_features.jsonl"
    conda:
        "../../envs/environment.yaml"
    # One pass at a time through a network of this size; sixteen jobs of one thread beat one of sixteen.
    threads: 1
    resources:
        mem_mb=growing(extraction_memory),
    params:
        **stage(
            "training.features:extract_test_features",
            model="{model}",
            settings=model_settings,
            device=CONFIG["device"],
        ),
    script:
        "../scripts/run_stage.py"
