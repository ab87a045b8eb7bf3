# The configuration, the cells of the grid, and the functions that rules take their inputs and parameters from.

import functools
from dataclasses import astuple
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from glitchtrace.core import configuration, grid, jobs, paths, provenance, registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.glitches import published
from glitchtrace.papers.glitches import statements as published_statements

# The folder of the workflow, whichever workflow includes it or uses it as a module.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]


def _load():
    """The checked and resolved configuration and the cells of its grid."""
    registry.add(config.get("components") or ())
    schema = configuration.load_schema(ROOT)
    configuration.check(config, schema)
    base_file = ROOT / "config/config.yaml"
    base = yaml.safe_load(base_file.read_text(encoding="utf-8"))
    configuration.check_study(config, base)
    resolved = configuration.resolve(config, schema)
    studies = [
        file for file in workflow.overwrite_configfiles if not base_file.samefile(file)
    ]
    if resolved["study"] is None and studies:
        resolved["study"] = configuration.study_name(studies[-1])
    return resolved, grid.cells(resolved["grid"], resolved["settings"])


try:
    CONFIG, CELLS = _load()
except GlitchtraceError as error:
    raise WorkflowError(str(error))

SETTINGS = CONFIG["settings"]
DETECTORS = registry.chosen("detector", CONFIG["detectors"])
CELL_KEYS = tuple(grid.AXES.values())

jobs.export_environment(ROOT / "src", CONFIG["data_root"])


pathvars:
    study=paths.study_folder(CONFIG["study"]),
    detectors=paths.detector_folder(CONFIG["detectors"]),
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


wildcard_constraints:
    **paths.WILDCARDS,


def checked(cells, *arguments):
    """The cells of a system's blocks; what is wrong with them is said in one line."""
    try:
        return cells(*arguments)
    except GlitchtraceError as error:
        raise WorkflowError(str(error))


# --- cells -------------------------------------------------------------------------------------------------------


def collect_cells(template, **keys):
    """One file per cell of the grid whose keys equal the given ones."""
    return sorted(
        {part for cell in grid.rows(CELLS, **keys) for part in expand(template, **cell)}
    )


def collect_dataset(template):
    """Input function: the files of all cells of the wildcard's dataset, in the order of ``dataset_cells``."""
    return lambda wildcards: [
        path for cell in dataset_cells(wildcards) for path in expand(template, **cell)
    ]


def dataset_cells(wildcards):
    """The cells of the wildcard's dataset."""
    return grid.rows(CELLS, dataset=wildcards.dataset)


def datasets():
    """Datasets of the grid, sorted."""
    return sorted({cell.dataset for cell in CELLS})


def summaries(wildcards):
    """The summaries of the grid, where it has cells."""
    if not CELLS:
        return []
    gains = rules.summarise_study_gain.output if CONFIG["repair"] else []
    return [*rules.compare_signals.output, *gains]


def small_matrices(wildcards):
    """Influence matrices of at most ``matrix_entries`` entries."""
    kept = []
    for cell in CELLS:
        rows, columns = grid.sizes(cell.dataset, SETTINGS["dataset"][cell.dataset])
        if rows * columns <= CONFIG["matrix_entries"]:
            kept.extend(expand(paths.INFLUENCE, **cell.wildcards()))
    return kept


def feature_files(wildcards):
    """What says that the features of all cells with a frozen backbone are at hand."""
    found = []
    for cell in CELLS:
        if frozen(cell.model):
            found.extend(expand(paths.FEATURES, **cell.wildcards()))
            if CONFIG["repair"]:
                found.extend(expand(paths.TEST_FEATURES, **cell.wildcards()))
    return found


def answering(target, study, files):
    """Input function of a target: ``files()``, and where the configuration makes none, an error naming a study."""

    def inputs(wildcards):
        found = files()
        if not found:
            raise WorkflowError(
                f"target {target}: the configuration has no runs for it; "
                f"add --configfile config/studies/{study}.yaml"
            )
        return found

    return inputs


# --- inputs and parameters of one job ------------------------------------------------------------------------------


def files_of(cells, template):
    """One file per cell, in the order of the cells."""
    return [path for cell in cells for path in expand(template, **cell)]


def source_files(template):
    """Input function: one file of every source whose rows the cell uses, the host's first."""

    def files(wildcards):
        settings = SETTINGS["glitch"][wildcards.glitch]
        names = grid.sources(wildcards.dataset, wildcards.glitch, settings)
        return [path for name in names for path in expand(template, source=name)]

    return files


def annotation_files(wildcards):
    """The table of human labels, where the glitch reads it."""
    needed = registry.card("glitch", wildcards.glitch).get("annotations")
    return [rules.fetch_annotations.output.annotations] if needed else []


def host_file(template):
    """Input function: one file of the dataset's own source."""
    return lambda wildcards: expand(
        template, source=registry.base_name(wildcards.dataset)
    )[0]


def host_files(template):
    """Input function: the same as a list of one, for stages that also take foreign sources."""
    return lambda wildcards: [host_file(template)(wildcards)]


def sources_of(*, sparse):
    """Wildcard pattern: the datasets whose rows are, or are not, stored sparse."""
    return "|".join(
        name
        for name in registry.names("dataset")
        if (registry.card("dataset", name)["modality"] == "sparse") == sparse
    )


def settings(kind):
    """Parameter function: the complete settings of the wildcard's component of one kind."""
    return lambda wildcards: SETTINGS[kind][wildcards[kind]]


def model_settings(wildcards):
    """The settings of the model without its training table."""
    return {
        key: value
        for key, value in SETTINGS["model"][wildcards.model].items()
        if key != "training"
    }


def training_settings(wildcards):
    """Learning rate, batch size and epochs of the model on the dataset."""
    return configuration.training_settings(
        SETTINGS["model"][wildcards.model], wildcards.dataset
    )


def frozen(model):
    """Whether a model is trained on the extracted features of a frozen backbone."""
    return registry.card("model", model)["view"] == "features"


def stored_features(wildcards):
    """Input function: for a frozen backbone, what says that the features of the cell's pictures are at hand."""
    if not frozen(wildcards.model):
        return []
    return expand(paths.FEATURES, **wildcards)


def stored_test_features(wildcards):
    """Input function: the same with the test pictures."""
    if not frozen(wildcards.model):
        return []
    return [*stored_features(wildcards), *expand(paths.TEST_FEATURES, **wildcards)]


def local_weights(wildcards):
    """Input function: the file that a model takes its weights from, where it is a local one."""
    file = Path(SETTINGS["model"][wildcards.model]["weights"])
    return [str(file)] if file.suffix and file.is_file() else []


def stage(function, **parameters):
    """Parameters of a job: its stage function (``module:function``), what it takes, and the fingerprint of its code.

    The fingerprint is that of the function and of every component that the wildcards or parameters name.
    """
    function = f"glitchtrace.{function}"

    def code(wildcards):
        filled = {
            key: (
                value(wildcards)
                if callable(value)
                else value.format(**wildcards) if isinstance(value, str) else value
            )
            for key, value in parameters.items()
        }
        named = registry.named_in({**dict(wildcards.items()), **filled})
        return _fingerprint(function, *(f"{kind}={name}" for kind, name in named))

    return {"stage": function, **parameters, "code": code}


_fingerprint = functools.cache(provenance.fingerprint)


def published_contamination(wildcards):
    """The contamination that the published code believes in: for appended anomalies the requested ratio."""
    return (
        float(wildcards.ratio)
        if registry.base_name(wildcards.glitch) == "far_anomalies"
        else None
    )


# --- figures ---------------------------------------------------------------------------------------------------------

HEADLINE = "f1_published" if CONFIG["evaluation"]["compat"]["f1_threshold"] else "f1"


def figure_files(stem, caption, category):
    """The files of one figure in all formats; the first goes into the report."""
    first, *others = [
        f"{stem}.{extension}" for extension in CONFIG["figures"]["formats"]
    ]
    return [_reported(first, caption, category, "figure"), *others]


def table_file(path, caption, category, form="table"):
    """A table or page that goes into the report, usually what stands behind a figure, beside it."""
    return _reported(path, caption, category, form)


def records(wildcards):
    """The records of all jobs behind the cells of the study, of every system."""
    detection = [
        rules.train.output.record,
        rules.profile_influence.output.record,
        rules.detect.output.record,
        rules.evaluate_cell.output.record,
    ]
    if CONFIG["repair"]:
        detection += [rules.repair_cell.output.record, rules.retrain.output.record]
    cleansing = [
        rules.record_training.output.record,
        rules.score_cleansing.output.record,
    ]
    relabelling = [rules.measure_rdia.output.record, rules.relabel_rdia.output.record]
    behind = [
        (grid.rows(CELLS), detection),
        (cleansing_cost_cells(wildcards), cleansing),
        (removal_cells(wildcards), [rules.remove_and_retrain.output.record]),
        (RDIA_CELLS, relabelling),
        (RDIA_LS_CELLS, [rules.train_selection.output.record]),
        (loop_rows(), [rules.clean_interactively.output.record]),
    ]
    return sorted(
        {
            path
            for cells, templates in behind
            for template in templates
            for cell in cells
            for path in expand(template, **cell)
        }
    )


def study_configuration(wildcards):
    """The configuration of the study; where data and results lie belongs to the machine."""
    private = ("pathvars", "data_root", "container")
    return {key: value for key, value in CONFIG.items() if key not in private}


def _reported(path, caption, category, form):
    # One label only: of a second with two values the report makes a switch, and its page stays empty
    # where a result exists for one position of the switch alone.
    about = [caption.replace("_", " ")]
    about += [f"{{{key}}}" for key in CELL_KEYS if f"{{{key}}}" in path]
    file = str(ROOT / "workflow/report" / f"{caption}.rst")
    return report(
        path,
        caption=file,
        category=category,
        labels={"result": f"{', '.join(about)} ({form})"},
    )


def trainings(wildcards):
    """The trained cells of the wildcards' dataset and glitch, each once whatever its estimators."""
    cells = grid.rows(CELLS, dataset=wildcards.dataset, glitch=wildcards.glitch)
    by_path = {expand(paths.TRAINING, **cell)[0]: cell for cell in cells}
    return list(by_path.values())


def collect_trainings(template):
    """Input function: one file of each training, in the order of ``trainings``."""
    return lambda wildcards: [
        path for cell in trainings(wildcards) for path in expand(template, **cell)
    ]


def first_seed(template):
    """Input function: the file of the first seed of the grid for the wildcards' cell."""

    def file(wildcards):
        keys = {key: wildcards[key] for key in CELL_KEYS if key in wildcards.keys()}
        return collect_cells(template, **keys)[0]

    return file


def signal_for(glitch):
    """The signal made for the kind of glitch: a gallery shows its finds."""
    made_for = {
        "mixture": "CFRank",
        "far_anomalies": "PCID",
        "near_anomalies": "PCID",
        "corruption": "PCID",
        "published_corruption": "PCID",
    }
    return made_for.get(registry.base_name(glitch), "CNCI")


def glitch_cells(wildcards):
    """The cells of the wildcards' dataset and glitch."""
    return grid.rows(CELLS, dataset=wildcards.dataset, glitch=wildcards.glitch)


def collect_glitch(template):
    """Input function: the files of all cells of a dataset and glitch, in the order of ``glitch_cells``."""
    return lambda wildcards: [
        path for cell in glitch_cells(wildcards) for path in expand(template, **cell)
    ]


# Cells whose labels are wrong: label repair is measured on them.
LABEL_CELLS = [
    cell.wildcards()
    for cell in CELLS
    if registry.base_name(cell.glitch) in ("uniform", "class_dependent", "human_labels")
]
CLUSTERED = ("far_anomalies", "near_anomalies")


def glitched_sets():
    """The ratios of each dataset and glitch of the grid, without the clean trainings."""
    ratios = {}
    for cell in CELLS:
        if cell.ratio != "clean":
            ratios.setdefault((cell.dataset, cell.glitch), set()).add(cell.ratio)
    return ratios


def glitch_files(template, chosen=lambda dataset, glitch: True):
    """The files of every dataset and glitch of the grid, or of the ``chosen`` ones."""
    return [
        path
        for dataset, glitch in glitched_sets()
        if chosen(dataset, glitch)
        for path in expand(template, dataset=dataset, glitch=glitch)
    ]


def epoch_tables(wildcards):
    """The tables of F1 per epoch, where the study draws them."""
    if not CONFIG["figures"]["per_epoch"]:
        return []
    return glitch_files(rules.plot_epochs.output.table)


def has_published_numbers():
    """Whether the glitch papers report a number of a cell of the grid, or state something that the study decides."""
    known = published.cells()
    return CONFIG["study"] in published_statements.studies() or any(
        (cell.dataset, cell.model, cell.glitch, cell.ratio) in known for cell in CELLS
    )


def ratio_figures():
    """Curves over the ratio, of every dataset and glitch with more than two."""
    ratios = glitched_sets()
    return glitch_files(
        rules.plot_ratios.output.figures,
        lambda dataset, glitch: len(ratios[dataset, glitch]) > 2,
    )


def epoch_figures():
    """Curves over the epochs, where the study draws them."""
    if not CONFIG["figures"]["per_epoch"]:
        return []
    return glitch_files(rules.plot_epochs.output.figures)


def self_influence_figures():
    """Self influence against accuracy, where the study draws it."""
    if not CONFIG["figures"]["self_influence"]:
        return []
    return glitch_files(rules.plot_self_influence.output.figures)


def clustered_tables():
    """The table of clustered anomalies, where the grid has some."""
    if any(registry.base_name(cell.glitch) in CLUSTERED for cell in CELLS):
        return [rules.tabulate_clustered.output.table]
    return []


def dirty_validation_figures():
    """A dirty against a clean validation set, where the grid has a cell with both."""
    both = {
        variant: {
            (registry.base_name(cell.dataset), *astuple(cell)[1:])
            for cell in CELLS
            if cell.dataset.endswith(f"@{variant}") and cell.ratio != "clean"
        }
        for variant in ("clean_validation", "dirty_validation")
    }
    if both["clean_validation"] & both["dirty_validation"]:
        return list(rules.plot_dirty_validation.output.figures)
    return []


def label_repair_figures():
    """Proposed labels of CNCI beside those of confident learning, where both are scored."""
    if {"CNCI", "confident_learning"} <= set(DETECTORS) and LABEL_CELLS:
        return list(rules.plot_label_repair.output.figures)
    return []


def characterisation_files():
    """What is told of mixed glitches, where the grid has a mixture."""
    if any(registry.base_name(cell.glitch) == "mixture" for cell in CELLS):
        return [
            *rules.plot_characterisation.output.figures,
            rules.tabulate_mixed.output.table,
        ]
    return []


def study_figures():
    """The figures and tables that only some grids allow: several ratios, anomalies, published numbers."""
    found = [
        *ratio_figures(),
        *epoch_figures(),
        *self_influence_figures(),
        *clustered_tables(),
        *dirty_validation_figures(),
        *label_repair_figures(),
        *characterisation_files(),
    ]
    if has_published_numbers():
        found += [rules.compare_published.output.table]
    return found


def all_figures(wildcards):
    """Every figure and table that the grid allows; without a grid, what describes the study."""
    if not CELLS:
        return list(rules.describe_study.output)
    glitched = [cell.wildcards() for cell in CELLS if cell.ratio != "clean"]
    figures = [
        rules.plot_cost.output.figures,
        rules.plot_accuracy.output.figures,
        list(rules.describe_study.output),
    ]
    if CONFIG["repair"]:
        figures.append(rules.plot_gain.output.figures)
    for cell in glitched:
        figures.append(expand(rules.plot_signals.output.figures, **cell))
        figures.append(expand(rules.plot_history.output.figures, **cell))
        if registry.card("dataset", cell["dataset"])["modality"] == "image":
            figures.append(expand(rules.plot_gallery.output.figures, **cell))
    figures.append(study_figures())
    return sorted({path for group in figures for path in group})


# --- memory, measured (see docs/architecture.md) -------------------------------------------------------------------


# A submitted job runs two Snakemakes of 300 MiB around its stage.
NESTED = 600


def growing(memory):
    """Resource function: the measured memory of a job in MiB with that of the Snakemakes around it where it is
    submitted, once more with every attempt (profiles/slurm retries)."""

    def scaled(wildcards, attempt):
        return attempt * ((memory(wildcards) if callable(memory) else memory) + NESTED)

    return scaled


def fetch_memory(wildcards):
    """MiB of fetching a dataset: 2000 unless its card knows better."""
    return registry.card("dataset", wildcards.source).get("memory_mib", 2000)


def training_memory(wildcards):
    """MiB of a training job: torch, the data of the cell, and what the model's card says of its activations."""
    rows, columns = grid.sizes(
        wildcards.dataset, SETTINGS["dataset"][wildcards.dataset]
    )
    activations = registry.card("model", wildcards.model).get("memory_mib", 0)
    return 900 + activations + int((rows + columns) * 0.03)


def extraction_memory(wildcards):
    """MiB of an extraction: the backbone, a batch of pictures in it, and a shard of features."""
    return 2500


def influence_memory(wildcards):
    """MiB of an influence job: the factors and the blocks of the matrix."""
    rows, columns = grid.sizes(
        wildcards.dataset, SETTINGS["dataset"][wildcards.dataset]
    )
    return 400 + int((rows + columns) * 0.01)
