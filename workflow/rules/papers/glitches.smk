# The two glitch papers: their figures beside the published numbers, and a target per figure or table.


rule plot_self_influence:
    input:
        signals=collect_glitch(rules.score_signals.output.signals),
        glitches=collect_glitch(rules.inject_glitch.output.glitch),
        factors=collect_glitch(rules.train.output.factors),
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
        epochs=epoch_tables,
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


def signal_bars(kinds, modality=None):
    """Bars of F1 by signal of the given kinds of glitch, on datasets of one modality or of any."""

    def chosen(dataset, glitch):
        shown = registry.card("dataset", dataset)["modality"]
        return kind_of_noise(glitch) in kinds and modality in (None, shown)

    return glitch_files(rules.plot_signals.output.figures, chosen)


def kind_of_noise(glitch):
    """The base name of a glitch, with how many classes class-dependent noise hits."""
    name, chosen = registry.base_name(glitch), SETTINGS["glitch"][glitch]
    if name != "class_dependent":
        return name
    default = 1 if chosen["transition_matrix"] is None else "all"
    return f"{name}: {chosen['classes_to_contaminate'] or default}"


def accuracy_figures():
    """Validation accuracy, and loss and accuracy by kind of sample, where the grid has cells."""
    return list(rules.plot_accuracy.output.figures) if CELLS else []


def change_figures():
    """The same, whose table holds the change against clean training, where a cell has its clean counterpart."""
    clean, glitched = (
        {
            (cell.dataset, cell.model, cell.seed)
            for cell in CELLS
            if (cell.ratio == "clean") == wanted
        }
        for wanted in (True, False)
    )
    return accuracy_figures() if clean & glitched else []


GLITCH_TARGETS = {
    "signals_on_tables": (
        "tables",
        lambda: signal_bars(
            ("uniform", "class_dependent: 1", "near_anomalies"), "table"
        ),
    ),
    "signals_on_pictures": (
        "pictures",
        lambda: signal_bars(
            ("uniform", "class_dependent: 1", "far_anomalies", "corruption"), "image"
        ),
    ),
    "ratio_ablation": ("ratios", ratio_figures),
    "f1_per_epoch": ("epochs", epoch_figures),
    "clustered_accuracy": ("clustered_anomalies", clustered_tables),
    "all_classes_noise": (
        "all_classes",
        lambda: signal_bars(("class_dependent: all",)),
    ),
    "mixtures_characterisation": ("mixtures", characterisation_files),
    "corruption_signals": (
        "corruptions",
        lambda: signal_bars(("corruption", "published_corruption")),
    ),
    "clean_and_dirty_validation": ("dirty_validation", dirty_validation_figures),
    "validation_accuracy": ("pictures", accuracy_figures),
    "clean_training_change": ("pictures", change_figures),
    "self_influence_and_accuracy": ("self_influence", self_influence_figures),
    "cost_by_phase": (
        "mnist",
        lambda: list(rules.plot_cost.output.figures) if CELLS else [],
    ),
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
