# The two glitch papers: their figures beside the published numbers, and a target per figure or table.

from glitchtrace.papers.glitches import cells as glitch_papers


rule plot_self_influence:
    input:
        scores=each(glitch_cells, rules.detect.output.scores),
        glitches=each(glitch_cells, rules.inject_glitch.output.glitch),
        factors=each(glitch_cells, rules.train.output.factors),
    output:
        figures=figure_files(
            "<study>/figures/{dataset}/self-influence-{glitch}",
            "self_influence",
            "Detection",
        ),
        table=table_file(
            "<study>/tables/{dataset}/self-influence-{glitch}.csv",
            "self_influence",
            "Detection",
        ),
    log:
        "<logs>/plot_self_influence/<study>/{dataset}-{glitch}.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.glitches.figures:plot_self_influence",
            dataset="{dataset}",
            glitch="{glitch}",
            cells=glitch_cells,
        ),
    script:
        "../../scripts/run_stage.py"


rule compare_published:
    input:
        summary=rules.summarise_study.output.summary,
        cost=rules.summarise_study.output.cost,
        epochs=each(
            SETS if CONFIG["figures"]["per_epoch"] else [],
            rules.plot_epochs.output.table,
        ),
    output:
        table=table_file(
            "<study>/tables/reproduction.csv", "reproduction", "Reproduction"
        ),
        page=table_file(
            "<study>/tables/reproduction.html", "reproduction", "Reproduction", "page"
        ),
    log:
        "<logs>/compare_published/<study>/table.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "papers.glitches.stage:compare_published",
        ),
    script:
        "../../scripts/run_stage.py"


rule tabulate_clustered:
    input:
        summary=rules.summarise_study.output.summary,
    output:
        table=table_file(
            "<study>/tables/clustered_anomalies.csv",
            "clustered_anomalies",
            "Training",
        ),
    log:
        "<logs>/tabulate_clustered/<study>/table.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(600),
    params:
        **stage(
            "papers.glitches.clustered:tabulate_clustered",
        ),
    script:
        "../../scripts/run_stage.py"


rule plot_dirty_validation:
    input:
        summary=rules.summarise_study.output.summary,
    output:
        figures=figure_files(
            "<study>/figures/dirty_validation", "dirty_validation", "Detection"
        ),
        table=table_file(
            "<study>/tables/dirty_validation.csv", "dirty_validation", "Detection"
        ),
    log:
        "<logs>/plot_dirty_validation/<study>/figure.log",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=growing(800),
    params:
        **stage(
            "papers.glitches.figures:plot_dirty_validation",
        ),
    script:
        "../../scripts/run_stage.py"


# --- one target per figure or table: its name, a study that has it, and its files -------------------------------------

self_influence_figures = each(
    SETS if CONFIG["figures"]["self_influence"] else [],
    rules.plot_self_influence.output.figures,
)
clustered_tables = where(
    GRID.named("glitch", glitch_papers.CLUSTERED), rules.tabulate_clustered.output.table
)
dirty_validation_figures = where(
    glitch_papers.with_both_validations(GRID),
    rules.plot_dirty_validation.output.figures,
)
FIGURES += [
    self_influence_figures,
    clustered_tables,
    dirty_validation_figures,
    lambda wildcards=None: files_of(
        [{}] if glitch_papers.with_published_numbers(GRID, CONFIG["study"]) else [],
        rules.compare_published.output.table,
    ),
]


signal_bars = lambda *kinds, of=None: each(
    glitch_papers.sets(GRID, SETTINGS, kinds, of), rules.plot_signals.output.figures
)
GLITCH_TARGETS = {
    "signals_on_tables": (
        "tables",
        signal_bars("uniform", "class_dependent: 1", "near_anomalies", of="table"),
    ),
    "signals_on_pictures": (
        "pictures",
        signal_bars(
            "uniform", "class_dependent: 1", "far_anomalies", "corruption", of="image"
        ),
    ),
    "ratio_ablation": ("ratios", ratio_figures),
    "f1_per_epoch": ("epochs", epoch_figures),
    "clustered_accuracy": ("clustered_anomalies", clustered_tables),
    "all_classes_noise": ("all_classes", signal_bars("class_dependent: all")),
    "mixtures_characterisation": ("mixtures", characterisation_files),
    "corruption_signals": (
        "corruptions",
        signal_bars("corruption", "published_corruption"),
    ),
    "clean_and_dirty_validation": ("dirty_validation", dirty_validation_figures),
    "validation_accuracy": ("pictures", accuracy_figures),
    "clean_training_change": (
        "pictures",
        where(glitch_papers.with_clean_twins(GRID), rules.plot_accuracy.output.figures),
    ),
    "self_influence_and_accuracy": ("self_influence", self_influence_figures),
    "cost_by_phase": ("mnist", cost_figures),
    "label_repair_accuracy": ("label_repair", label_repair_figures),
}

# docs/running.md says which figure or table each is.
for target, (study, files) in GLITCH_TARGETS.items():

    rule:
        name:
            target
        input:
            answering(target, study, files),
        localrule: True
