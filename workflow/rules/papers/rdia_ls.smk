# RDIA-LS and what it is compared with: one training per cell, then the study.

from glitchtrace.papers.rdia_ls import cells as rdia_ls_cells

RDIA_LS_CELLS = checked(rdia_ls_cells.cells, CONFIG["rdia_ls"], SETTINGS)


rule train_selection:
    input:
        features=source_files(rules.fetch_data.output.features),
        beside=beside_sources,
        split=rules.prepare_data.output.split,
        glitch=rules.inject_glitch.output.glitch,
    output:
        history=paths.RDIA_LS_HISTORY,
        record=paths.record(paths.RDIA_LS_HISTORY, "train_selection"),
    log:
        "<logs>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/train_selection/{selection}.log",
    benchmark:
        "<benchmarks>/{dataset}/{model}/{glitch}-{ratio}/seed-{seed}/train_selection/{selection}.jsonl"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=lasting(720),
        gpu=GPU,
    params:
        **stage(
            "papers.rdia_ls.stage:train_selection",
            model="{model}",
            model_settings=model_settings,
            selection="{selection}",
            settings=settings("selection"),
            ratio="{ratio}",
            seed=number("seed"),
            device=CONFIG["device"],
        ),
    script:
        "../../scripts/run_stage.py"


rule summarise_rdia_ls:
    input:
        tables=each(RDIA_LS_CELLS, rules.train_selection.output.history),
    output:
        summary=paths.RDIA_LS_SUMMARY,
    log:
        "<logs>/summarise_rdia_ls/<study>/summary.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "evaluation.summary:summarise",
            cells=RDIA_LS_CELLS,
        ),
    script:
        "../../scripts/run_stage.py"


rule plot_rdia_ls:
    input:
        summary=rules.summarise_rdia_ls.output.summary,
    output:
        figures=figure_files("<study>/figures/rdia_ls", "rdia_ls", "RDIA-LS"),
        table=table_file("<study>/tables/rdia_ls.csv", "rdia_ls", "RDIA-LS"),
    log:
        "<logs>/plot_rdia_ls/<study>/figure.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.rdia_ls.figures:plot_rdia_ls",
        ),
    script:
        "../../scripts/run_stage.py"


rdia_ls_accuracy = where(RDIA_LS_CELLS, rules.plot_rdia_ls.output)
RDIA_LS_FILES = [
    each(RDIA_LS_CELLS, rules.train_selection.output.history),
    where(RDIA_LS_CELLS, rules.summarise_rdia_ls.output),
    rdia_ls_accuracy,
]
EVERYTHING += RDIA_LS_FILES
RECORDS.append((RDIA_LS_CELLS, [rules.train_selection.output.record]))


rule rdia_ls:
    input:
        RDIA_LS_FILES,
    localrule: True


rule rdia_ls_accuracy:
    input:
        answering("rdia_ls_accuracy", "rdia_ls", rdia_ls_accuracy),
    localrule: True
