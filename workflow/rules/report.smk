# Figures and tables of a study, drawn from its summaries.


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
        ),
    script:
        "../scripts/run_stage.py"


rule plot_history:
    input:
        histories=collect_trainings(rules.train.output.history),
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
            dataset="{dataset}",
            glitch="{glitch}",
            headline=HEADLINE,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_epochs:
    input:
        epochs=collect_glitch(rules.evaluate_epochs.output.epochs),
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
            dataset="{dataset}",
            glitch="{glitch}",
            cells=glitch_cells,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_label_repair:
    input:
        scores=[expand(rules.detect.output.scores, **cell) for cell in LABEL_CELLS],
        glitches=[
            expand(rules.inject_glitch.output.glitch, **cell) for cell in LABEL_CELLS
        ],
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
            cells=LABEL_CELLS,
        ),
    script:
        "../scripts/run_stage.py"


rule plot_gallery:
    input:
        scores=first_seed(rules.detect.output.scores),
        glitch=first_seed(rules.inject_glitch.output.glitch),
        features=source_files(rules.fetch_data.output.features),
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
            dataset="{dataset}",
            signal=lambda wildcards: signal_for(wildcards.glitch),
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
