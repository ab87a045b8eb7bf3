# Features of frozen backbones: each picture passes once; what is at hand is kept in <results>/features and serves
# all cells, seeds and studies. Then training: a checkpoint per epoch, and the factors of the influence from the
# evaluation pass after each epoch.


rule extract_features:
    input:
        features=source_files(rules.fetch_data.output.features),
        beside=beside_training,
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
        mem_mb=growing(resources.EXTRACTION_MIB),
        runtime=lasting(extraction_minutes),
        gpu=GPU,
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
        beside=beside_host,
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
        mem_mb=growing(resources.EXTRACTION_MIB),
        runtime=lasting(extraction_minutes),
        gpu=GPU,
    params:
        **stage(
            "training.features:extract_test_features",
            model="{model}",
            settings=model_settings,
            device=CONFIG["device"],
        ),
    script:
        "../scripts/run_stage.py"


# Features of all cells with a frozen backbone: what the target of the name makes.
FROZEN = [cell for cell in GRID.rows() if frozen(cell["model"])]
FEATURES = [
    each(FROZEN, rules.extract_features.output.stored),
    each(FROZEN if CONFIG["repair"] else [], rules.extract_test_features.output.stored),
]


rule train:
    input:
        features=source_files(rules.fetch_data.output.features),
        beside=beside_training,
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
        stored=stored_features,
    output:
        checkpoints=paths.CHECKPOINTS,
        factors=paths.FACTORS,
        history=paths.HISTORY,
        record=paths.record(paths.CHECKPOINTS, "train"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/train.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/train.jsonl"
    conda:
        "../../envs/environment.yaml"
    # Sums depend on the number of threads in their last bits; sixteen jobs of one thread beat one of sixteen.
    threads: 1
    resources:
        mem_mb=growing(training_memory),
        runtime=lasting(training_minutes()),
        gpu=GPU,
    params:
        **stage(
            "training.stage:train_cell",
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


# Our own ResNet-20 weights, as shipped in the package; runs only when asked for.
rule pretrain:
    input:
        features="<results>/sources/cifar10_jpeg/features.npy",
        labels="<results>/sources/cifar10_jpeg/labels.npy",
        description="<results>/sources/cifar10_jpeg/source.json",
    output:
        weights="<results>/weights/cifar10_resnet20_jpeg.safetensors",
        card="<results>/weights/cifar10_resnet20_jpeg.md",
        record="<results>/weights/pretrain.json",
    log:
        "<logs>/pretrain.log",
    benchmark:
        "<benchmarks>/pretrain.jsonl"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=lasting(resources.DAY_MINUTES),
    params:
        **stage(
            "training.pretrain:pretrain",
            seed=0,
            epochs=8,
        ),
    script:
        "../scripts/run_stage.py"
