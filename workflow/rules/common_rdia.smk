# The cells of RDIA and RDIA-LS, and the functions that their rules take inputs and parameters from.

from glitchtrace.papers.rdia import cells as rdia_cells
from glitchtrace.papers.rdia_ls import cells as rdia_ls_cells

try:
    RDIA_CELLS = rdia_cells.cells(CONFIG["rdia"], SETTINGS)
    RDIA_LS_CELLS = rdia_ls_cells.cells(CONFIG["rdia_ls"], SETTINGS)
except GlitchtraceError as error:
    raise WorkflowError(str(error))


def files_of(cells, template):
    """One file per cell, in the order of the cells."""
    return [path for cell in cells for path in expand(template, **cell)]


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


def rdia_ls_accuracy():
    """The accuracy of RDIA-LS by epoch, drawn and tabulated."""
    return list(rules.plot_rdia_ls.output) if RDIA_LS_CELLS else []


def rdia_ls_targets(wildcards):
    """The histories of RDIA-LS and what is made from them, where the study has cells of it."""
    if not RDIA_LS_CELLS:
        return []
    return [
        *files_of(RDIA_LS_CELLS, rules.train_selection.output.history),
        *rules.summarise_rdia_ls.output,
        *rdia_ls_accuracy(),
    ]
