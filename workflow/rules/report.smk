# Figures and tables of a study, drawn from its summaries; and which of them its grid allows.

# Cells whose labels are wrong: label repair is measured on them.
LABEL_CELLS = [
    cell
    for cell in GRID.rows()
    if registry.card("glitch", cell["glitch"]).get("label_repair")
]
GLITCHED_SETS = grid.glitched_sets(GRID)


rule describe_findings:
    input:
        summary=rules.summarise_study.output.summary,
        gain=where(CONFIG["repair"], rules.summarise_study_gain.output.gain),
    output:
        findings=table_file(paths.FINDINGS, "findings", "Findings", "page"),
    log:
        "<logs>/describe_findings/<study>/findings.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "reporting.findings:write_findings",
            headline=HEADLINE,
            memorised=MEMORISED,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_signals:
    input:
        summary=rules.summarise_dataset.output.summary,
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/signals-{glitch}", "signals", "Detection"
        ),
        table=table_file(
            "<study>/tables/{dataset}/signals-{glitch}.csv", "signals", "Detection"
        ),
    log:
        "<logs>/plot_signals/<study>/{dataset}-{glitch}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "reporting.figures.signals:plot_signals",
            dataset="{dataset}",
            glitch="{glitch}",
            headline=HEADLINE,
            memorised=MEMORISED,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_characterisation:
    input:
        summary=rules.summarise_study.output.summary,
    output:
        figures=figure_files(
            "<study>/figures/characterisation", "characterisation", "Characterisation"
        ),
        table=table_file(
            "<study>/tables/characterisation.csv",
            "characterisation",
            "Characterisation",
        ),
    log:
        "<logs>/plot_characterisation/<study>/figure.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "reporting.figures.characterisation:plot_characterisation",
            memorised=MEMORISED,
        ),
    script:
        "../scripts/run_stage.py"


rule tabulate_mixed:
    input:
        summary=rules.summarise_study.output.summary,
    output:
        table="<study>/tables/mixed.md",
        csv=table_file("<study>/tables/mixed.csv", "mixed", "Characterisation"),
    log:
        "<logs>/tabulate_mixed/<study>/table.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "reporting.tables:tabulate_mixed",
            memorised=MEMORISED,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_accuracy:
    input:
        summary=rules.summarise_study.output.summary,
    output:
        figures=figure_files("<study>/figures/accuracy", "accuracy", "Training"),
        table=table_file("<study>/tables/accuracy.csv", "accuracy", "Training"),
    log:
        "<logs>/plot_accuracy/<study>/figure.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "reporting.figures.accuracy:plot_accuracy",
            memorised=MEMORISED,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_gain:
    input:
        gain=rules.summarise_study_gain.output.gain,
    output:
        figures=figure_files("<study>/figures/gain", "gain", "Repair"),
        table=table_file("<study>/tables/gain.csv", "gain", "Repair"),
    log:
        "<logs>/plot_gain/<study>/figure.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "reporting.figures.gain:plot_gain",
            memorised=MEMORISED,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_history:
    input:
        histories=each(trainings, rules.train.output.history),
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/history-{glitch}", "history", "Training"
        ),
    log:
        "<logs>/plot_history/<study>/{dataset}-{glitch}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "reporting.figures.history:plot_history",
            dataset="{dataset}",
            memorised=MEMORISED,
            cells=trainings,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_ratios:
    input:
        summary=rules.summarise_dataset.output.summary,
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/ratios-{glitch}", "ratios", "Detection"
        ),
        table=table_file(
            "<study>/tables/{dataset}/ratios-{glitch}.csv", "ratios", "Detection"
        ),
    log:
        "<logs>/plot_ratios/<study>/{dataset}-{glitch}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "reporting.figures.curves:plot_ratios",
            memorised=MEMORISED,
            dataset="{dataset}",
            glitch="{glitch}",
            headline=HEADLINE,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_epochs:
    input:
        epochs=each(glitch_cells, rules.evaluate_epochs.output.epochs),
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/epochs-{glitch}", "epochs", "Detection"
        ),
        table=table_file(
            "<study>/tables/{dataset}/epochs-{glitch}.csv", "epochs", "Detection"
        ),
    log:
        "<logs>/plot_epochs/<study>/{dataset}-{glitch}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "reporting.figures.curves:plot_epochs",
            memorised=MEMORISED,
            dataset="{dataset}",
            glitch="{glitch}",
            cells=glitch_cells,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_label_repair:
    input:
        scores=each(LABEL_CELLS, rules.detect.output.scores),
        glitches=each(LABEL_CELLS, rules.inject_glitch.output.glitch),
    output:
        figures=figure_files("<study>/figures/label_repair", "label_repair", "Repair"),
        table=table_file("<study>/tables/label_repair.csv", "label_repair", "Repair"),
    log:
        "<logs>/plot_label_repair/<study>/figure.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "reporting.figures.label_repair:plot_label_repair",
            memorised=MEMORISED,
            cells=LABEL_CELLS,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_gallery:
    input:
        scores=first_seed(rules.detect.output.scores),
        glitch=first_seed(rules.inject_glitch.output.glitch),
        features=source_files(rules.fetch_data.output.features),
        beside=beside_sources,
        descriptions=source_files(rules.fetch_data.output.description),
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/{model}/{glitch}-{ratio}/gallery-{estimator}",
            "gallery",
            "Gallery",
        ),
    log:
        "<logs>/plot_gallery/<study>/{dataset}/{model}/{glitch}-{ratio}/{estimator}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "reporting.figures.gallery:plot_gallery",
            memorised=MEMORISED,
            dataset="{dataset}",
            model="{model}",
            planted="{glitch}",
            ratio="{ratio}",
            seed=lambda wildcards: int(first_cell(wildcards)["seed"]),
            signal=lambda wildcards: registry.card("glitch", wildcards.glitch).get(
                "shown_by", "CNCI"
            ),
            size=CONFIG["figures"]["gallery"],
        ),
    script:
        "../scripts/run_stage.py"


rule plot_cost:
    input:
        cost=rules.summarise_study.output.cost,
    output:
        figures=figure_files("<study>/figures/cost", "cost", "Cost"),
        table=table_file("<study>/tables/cost.csv", "cost", "Cost"),
    log:
        "<logs>/plot_cost/<study>/figure.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "reporting.figures.cost:plot_cost",
        ),
    script:
        "../scripts/run_stage.py"


rule plot_ranks:
    input:
        summary=rules.summarise_study.output.summary,
    output:
        figures=figure_files("<study>/figures/ranks", "ranks", "Detection"),
        cells=table_file("<study>/tables/comparison.csv", "ranks", "Detection"),
        ranks=table_file("<study>/tables/ranks.csv", "ranks", "Detection"),
    log:
        "<logs>/plot_ranks/<study>/figure.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "reporting.figures.ranks:plot_ranks",
            headline=HEADLINE,
        ),
    script:
        "../scripts/run_stage.py"


rule describe_study:
    input:
        records=records,
    output:
        configuration=table_file(
            "<study>/tables/configuration.csv", "configuration", "Provenance"
        ),
        provenance=table_file(
            "<study>/tables/provenance.csv", "provenance", "Provenance"
        ),
    log:
        "<logs>/describe_study/<study>/tables.log",
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "reporting.provenance:describe_study",
            settings=study_configuration,
        ),
    script:
        "../scripts/run_stage.py"


# --- what a target asks for, by the cells that the grid has ----------------------------------------------------------

RECORDS.append(
    (
        GRID.rows(),
        [
            rules.train.output.record,
            rules.profile_influence.output.record,
            rules.detect.output.record,
            rules.evaluate_cell.output.record,
        ],
    )
)
if CONFIG["repair"]:
    RECORDS.append(
        (GRID.rows(), [rules.repair_cell.output.record, rules.retrain.output.record])
    )

SETS = [{"dataset": dataset, "glitch": glitch} for dataset, glitch in GLITCHED_SETS]
MIXED = GRID.named("glitch", ("mixture",))
drawn = CONFIG["figures"]

accuracy_figures = where(GRID, rules.plot_accuracy.output.figures)
cost_figures = where(GRID, rules.plot_cost.output.figures)
ratio_figures = each(
    [cells for cells, ratios in zip(SETS, GLITCHED_SETS.values()) if len(ratios) > 2],
    rules.plot_ratios.output.figures,
)
epoch_figures = each(
    SETS if drawn["per_epoch"] else [], rules.plot_epochs.output.figures
)
characterisation_files = where(
    MIXED, rules.plot_characterisation.output.figures, rules.tabulate_mixed.output.table
)
label_repair_figures = where(
    LABEL_CELLS if {"CNCI", "confident_learning"} <= set(DETECTORS) else [],
    rules.plot_label_repair.output.figures,
)
FIGURES += [
    where(True, rules.describe_study.output),
    where(GRID, rules.describe_findings.output),
    accuracy_figures,
    cost_figures,
    where(GAINED, rules.plot_gain.output.figures),
    each(SETS, rules.plot_signals.output.figures, rules.plot_history.output.figures),
    each(
        [
            cell
            for cell in GRID.glitched()
            if registry.card("dataset", cell["dataset"])["modality"] == "image"
        ],
        rules.plot_gallery.output.figures,
    ),
    ratio_figures,
    epoch_figures,
    characterisation_files,
    label_repair_figures,
]

# Every detector over all cells: tables, rank tests and their diagram, and what the stages cost.


rule comparison:
    input:
        answering(
            "comparison",
            "comparison_small",
            where(GRID.glitched(), rules.plot_ranks.output),
            cost_figures,
        ),
    localrule: True
