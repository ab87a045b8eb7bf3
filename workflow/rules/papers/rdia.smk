# RDIA: one first model with its influence per cell, one relabelling and refit per method, then the study.

from glitchtrace.papers.rdia import cells as rdia_cells

RDIA_CELLS = checked(rdia_cells.cells, CONFIG["rdia"], SETTINGS)


def source_features(wildcards):
    """The features of the dataset's own source, dense or sparse."""
    source = registry.base_name(wildcards.dataset)
    sparse = registry.card("dataset", source)["modality"] == "sparse"
    template = paths.SPARSE_FEATURES if sparse else paths.SOURCE_FEATURES
    return expand(template, source=source)


def rdia_memory(wildcards):
    """MiB of a job of RDIA: 350 were measured on MNIST 1 against 7; sparse sets are larger than their rows tell."""
    card = registry.card("dataset", wildcards.dataset)
    if card["modality"] == "sparse":
        return 6000
    return 700 + int(sum(card["rows"].values()) * 0.004)


def rdia_alphas():
    """Variant of RDIA -> its α, of those in the study whose α is given."""
    return {
        name: chosen["alpha"]
        for name, chosen in SETTINGS["relabelling"].items()
        if registry.base_name(name) == "rdia" and chosen["alpha"] is not None
    }


def rdia_thresholds():
    """The table of RDIA by α and noise, where an α is given."""
    return list(rules.tabulate_rdia_thresholds.output) if rdia_alphas() else []


def rdia_baselines():
    """The table of all methods, where there is one beside RDIA."""
    methods = {registry.base_name(cell["relabelling"]) for cell in RDIA_CELLS}
    return list(rules.tabulate_rdia_baselines.output) if methods - {"rdia"} else []


def rdia_targets(wildcards):
    """The gains of RDIA and what is made from them, where the study has cells of it."""
    if not RDIA_CELLS:
        return []
    return [
        *files_of(RDIA_CELLS, rules.relabel_rdia.output.gain),
        *rules.summarise_rdia.output,
        *rules.plot_rdia.output,
        *rdia_thresholds(),
        *rdia_baselines(),
    ]


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
        "../../../envs/environment.yaml"
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
        "../../scripts/run_stage.py"


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
        "../../../envs/environment.yaml"
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
        "../../scripts/run_stage.py"


rule summarise_rdia:
    input:
        tables=files_of(RDIA_CELLS, rules.relabel_rdia.output.gain),
    output:
        summary=paths.RDIA_SUMMARY,
    log:
        "<logs>/summarise_rdia/<study>/summary.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.summary:summarise",
            cells=RDIA_CELLS,
        ),
    script:
        "../../scripts/run_stage.py"


rule plot_rdia:
    input:
        summary=rules.summarise_rdia.output.summary,
    output:
        figures=figure_files("<study>/figures/rdia", "rdia", "RDIA"),
        table=table_file("<study>/tables/rdia.csv", "rdia", "RDIA"),
    log:
        "<logs>/plot_rdia/<study>/figure.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.rdia.figures:plot_rdia",
        ),
    script:
        "../../scripts/run_stage.py"


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
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.rdia.figures:tabulate_rdia_thresholds",
            alphas=rdia_alphas(),
        ),
    script:
        "../../scripts/run_stage.py"


rule tabulate_rdia_baselines:
    input:
        summary=rules.summarise_rdia.output.summary,
    output:
        table=table_file("<study>/tables/rdia_baselines.csv", "rdia_baselines", "RDIA"),
    log:
        "<logs>/tabulate_rdia_baselines/<study>/table.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.rdia.figures:tabulate_rdia_baselines",
        ),
    script:
        "../../scripts/run_stage.py"


rule rdia:
    input:
        rdia_targets,
    localrule: True


rule rdia_thresholds:
    input:
        answering("rdia_thresholds", "rdia_mnist17", rdia_thresholds),
    localrule: True


rule rdia_baselines:
    input:
        answering("rdia_baselines", "rdia_mnist17", rdia_baselines),
    localrule: True
