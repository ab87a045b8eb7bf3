# Data cleansing: the cells of its blocks, and the functions that its rules take their inputs and parameters from.

from glitchtrace.papers.cleansing import cells as cleansing_cells

try:
    CLEANSING_CELLS = cleansing_cells.cells(CONFIG["cleansing"], SETTINGS)
except GlitchtraceError as error:
    raise WorkflowError(str(error))

FIDELITY_CELLS = cleansing_cells.fidelity_cells(CONFIG["fidelity"])


def cleansing_cell(wildcards):
    """The cell of the study that a job's wildcards name."""
    keys = tuple(
        wildcards[key]
        for key in ("dataset", "model", "glitch", "ratio", "seed", "protocol")
    )
    return next(
        cell for cell in CLEANSING_CELLS if tuple(cell.wildcards().values()) == keys
    )


def cleansing_methods(wildcards):
    """Parameter function: the methods of the cell with their settings."""
    return {
        method: SETTINGS["cleansing_method"][method]
        for method in cleansing_cell(wildcards).methods
    }


def removal_files(wildcards):
    """The removal table of every cell and every choice of epochs that are trained again."""
    return [
        path
        for cell in CLEANSING_CELLS
        for retrained in cell.retrained
        for path in expand(paths.REMOVAL, retrained=retrained, **cell.wildcards())
    ]


def removal_cells(wildcards):
    """Parameter function: the keys of ``removal_files``, in their order."""
    return [
        {**cell.wildcards(), "retrained": retrained}
        for cell in CLEANSING_CELLS
        for retrained in cell.retrained
    ]


def cleansing_cost_files(wildcards):
    """The cost table of every cell."""
    return [
        path
        for cell in CLEANSING_CELLS
        for path in expand(paths.CLEANSING_COST, **cell.wildcards())
    ]


def cleansing_cost_cells(wildcards):
    """Parameter function: the keys of ``cleansing_cost_files``, in their order."""
    return [cell.wildcards() for cell in CLEANSING_CELLS]


def fidelity_files(wildcards):
    """The table of every task and network of the fidelity study."""
    return [
        path
        for task, network in FIDELITY_CELLS
        for path in expand(paths.FIDELITY_CELL, task=task, network=network)
    ]


def fidelity_keys(wildcards):
    """Parameter function: the keys of ``fidelity_files``, in their order."""
    return [{"task": task, "network": network} for task, network in FIDELITY_CELLS]


def fidelity_seeds(wildcards):
    """Parameter function: the trials of a task and network."""
    return FIDELITY_CELLS[wildcards.task, wildcards.network]


def cleansing_results(wildcards):
    """Every summary, figure and table of data cleansing that the study allows."""
    found = []
    if CLEANSING_CELLS:
        found += [
            rules.plot_cleansing.output.figures,
            [rules.plot_cleansing.output.table, rules.compare_cleansing.output.gain],
            rules.plot_cleansing_cost.output.figures,
        ]
    if FIDELITY_CELLS:
        found += [
            rules.plot_fidelity.output.figures,
            [rules.plot_fidelity.output.table],
        ]
    return [path for group in found for path in group]
