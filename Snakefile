from snakemake.utils import min_version

min_version("9.19")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/common_cleansing.smk"


container: CONFIG["container"]


include: "workflow/rules/data.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/influence.smk"
include: "workflow/rules/signals.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/repair.smk"
include: "workflow/rules/common_rdia.smk"
include: "workflow/rules/repair_rdia.smk"
include: "workflow/rules/repair_rdia_ls.smk"
include: "workflow/rules/repair_cleansing.smk"
include: "workflow/rules/common_cincer.smk"
include: "workflow/rules/repair_cincer.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/common_targets.smk"


localrules:
    all,
    features,
    checkpoints,
    influence,
    signals,
    figures,
    cleansing,
    cincer,
    cincer_q1_q3_pictures,
    cincer_q1_q3_tables,
    cincer_q2,
    cincer_eval_ce,
    cincer_eval_influence,
    cincer_thresholds,
    pretrained_weights,
    rdia,
    rdia_thresholds,
    rdia_baselines,
    rdia_ls,
    rdia_ls_accuracy,


rule all:
    default_target: True
    input:
        # Named here, so that a deleted file is made again although what follows from it is at hand.
        collect_cells(rules.train.output.checkpoints),
        collect_cells(rules.score_signals.output.signals),
        small_matrices,
        summaries,
        all_figures,
        rdia_targets,
        rdia_ls_targets,
        cleansing_results,
        cincer_targets,


rule features:
    input:
        feature_files,


rule checkpoints:
    input:
        collect_cells(rules.train.output.checkpoints),


rule influence:
    input:
        collect_cells(rules.compute_influence.output.influence),


rule signals:
    input:
        collect_cells(rules.score_signals.output.signals),


rule figures:
    input:
        all_figures,


rule cleansing:
    input:
        cleansing_results,


rule cincer:
    input:
        cincer_targets,


# One target per research question of the publication; each takes the runs of the configuration that answer it.


rule cincer_q1_q3_pictures:
    input:
        answering(
            "cincer_q1_q3_pictures",
            "cincer_pictures",
            lambda: loop_curves("q1", "q3", pictures=True),
        ),


rule cincer_q1_q3_tables:
    input:
        answering(
            "cincer_q1_q3_tables",
            "cincer_breast",
            lambda: loop_curves("q1", "q3", pictures=False),
        ),


rule cincer_q2:
    input:
        answering(
            "cincer_q2",
            "cincer_precision",
            lambda: rules.summarise_loops.output if loop_precisions() else [],
        ),


rule cincer_eval_ce:
    input:
        answering("cincer_eval_ce", "cincer_precision", loop_precisions),


rule cincer_eval_influence:
    input:
        answering("cincer_eval_influence", "cincer_influence", loop_influence),


rule cincer_thresholds:
    input:
        answering("cincer_thresholds", "cincer_thresholds", loop_thresholds),


# One target per figure or table of the glitch papers, likewise.
for target, (study, files) in GLITCH_TARGETS.items():

    rule:
        name:
            target
        input:
            answering(target, study, files),
        localrule: True


rule pretrained_weights:
    input:
        rules.pretrain.output.weights,


rule rdia:
    input:
        rdia_targets,


rule rdia_thresholds:
    input:
        answering("rdia_thresholds", "rdia_mnist17", rdia_thresholds),


rule rdia_baselines:
    input:
        answering("rdia_baselines", "rdia_mnist17", rdia_baselines),


rule rdia_ls:
    input:
        rdia_ls_targets,


rule rdia_ls_accuracy:
    input:
        answering("rdia_ls_accuracy", "rdia_ls", rdia_ls_accuracy),
