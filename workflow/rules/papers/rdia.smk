# RDIA: one first model with its influence per cell, one relabelling and refit per method, then the study.

from glitchtrace.papers.rdia import cells as rdia_cells

RDIA_CELLS = checked(rdia_cells.cells, CONFIG["rdia"], SETTINGS)


RDIA_ALPHAS = rdia_cells.alphas(SETTINGS)
rdia_memory = lambda wildcards: rdia_cells.memory(wildcards.dataset)


rule measure_rdia:
    input:
        features=host_features,
        beside=beside_host,
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
    output:
        influence=paths.RDIA_INFLUENCE,
        fit=paths.RDIA_FIT,
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
        runtime=lasting(240),
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
        features=host_features,
        beside=beside_host,
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
        runtime=lasting(240),
    params:
        **stage(
            "papers.rdia.stage:relabel_rdia",
            learner="{learner}",
            learner_settings=settings("learner"),
            relabelling="{relabelling}",
            settings=settings("relabelling"),
            seed=number("seed"),
        ),
    script:
        "../../scripts/run_stage.py"


rule summarise_rdia:
    input:
        tables=each(RDIA_CELLS, rules.relabel_rdia.output.gain),
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
            alphas=RDIA_ALPHAS,
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


rdia_thresholds = where(RDIA_ALPHAS, rules.tabulate_rdia_thresholds.output)
rdia_baselines = where(
    rdia_cells.with_baselines(RDIA_CELLS), rules.tabulate_rdia_baselines.output
)
RDIA_FILES = [
    each(RDIA_CELLS, rules.relabel_rdia.output.gain),
    where(RDIA_CELLS, rules.summarise_rdia.output, rules.plot_rdia.output),
    rdia_thresholds,
    rdia_baselines,
]
EVERYTHING += RDIA_FILES
RECORDS.append(
    (RDIA_CELLS, [rules.measure_rdia.output.record, rules.relabel_rdia.output.record])
)


rule rdia:
    input:
        RDIA_FILES,
    localrule: True


rule rdia_thresholds:
    input:
        answering("rdia_thresholds", "rdia_mnist17", rdia_thresholds),
    localrule: True


rule rdia_baselines:
    input:
        answering("rdia_baselines", "rdia_mnist17", rdia_baselines),
    localrule: True
