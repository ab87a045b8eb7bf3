# Data: each base dataset once, then a split per seed, then the glitches.


rule fetch_data:
    output:
        features=paths.SOURCE_FEATURES,
        labels=paths.SOURCE_LABELS,
        description=paths.SOURCE_DESCRIPTION,
        record=paths.record(paths.SOURCE_LABELS, "fetch_data"),
    log:
        "<logs>/fetch_data/{source}.log",
    benchmark:
        "<benchmarks>/fetch_data/{source}.jsonl"
    wildcard_constraints:
        source=sources_of(sparse=False),
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(lambda wildcards: resources.fetching(wildcards.source)),
        runtime=lasting(resources.FETCHING_MINUTES),
    params:
        **stage(
            "data.fetch:fetch_data",
            dataset="{source}",
            raw=own_content,
            settings=own_settings,
        ),
    script:
        "../scripts/run_stage.py"


rule fetch_sparse_data:
    output:
        features=paths.SPARSE_FEATURES,
        labels=paths.SOURCE_LABELS,
        description=paths.SOURCE_DESCRIPTION,
        record=paths.record(paths.SOURCE_LABELS, "fetch_data"),
    log:
        "<logs>/fetch_data/{source}.log",
    benchmark:
        "<benchmarks>/fetch_data/{source}.jsonl"
    wildcard_constraints:
        source=sources_of(sparse=True),
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(lambda wildcards: resources.fetching(wildcards.source)),
        runtime=lasting(resources.FETCHING_MINUTES),
    params:
        **stage(
            "data.fetch:fetch_data",
            dataset="{source}",
            raw=own_content,
            settings=own_settings,
        ),
    script:
        "../scripts/run_stage.py"


rule fetch_annotations:
    output:
        annotations=paths.ANNOTATIONS,
        record=paths.record(paths.ANNOTATIONS, "fetch_annotations"),
    log:
        "<logs>/fetch_annotations/{annotation}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
        runtime=lasting(resources.FETCHING_MINUTES),
    params:
        **stage(
            "data.annotations:fetch_annotations",
            name="{annotation}",
        ),
    script:
        "../scripts/run_stage.py"


rule prepare_data:
    input:
        labels=host_file(rules.fetch_data.output.labels),
        description=host_file(rules.fetch_data.output.description),
    output:
        split=paths.SPLIT,
        record=paths.record(paths.SPLIT, "prepare_data"),
    log:
        "<logs>/{dataset}/seed-{seed}/prepare_data.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "data.prepare:prepare_data",
            dataset="{dataset}",
            seed=number("seed"),
            settings=split_settings,
        ),
    script:
        "../scripts/run_stage.py"


rule inject_glitch:
    input:
        split=rules.prepare_data.output.split,
        labels=source_files(rules.fetch_data.output.labels),
        descriptions=source_files(rules.fetch_data.output.description),
        annotations=annotation_files,
        features=probed_features,
    output:
        glitch=paths.GLITCH,
        record=paths.record(paths.GLITCH, "inject_glitch"),
    log:
        "<logs>/{dataset}/{glitch}-{ratio}/seed-{seed}/inject_glitch.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "glitches.stage:inject_glitch",
            dataset="{dataset}",
            name="{glitch}",
            ratio="{ratio}",
            seed=number("seed"),
            settings=settings("glitch"),
        ),
    script:
        "../scripts/run_stage.py"
