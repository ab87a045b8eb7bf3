# The configuration, the cells of the grid, and the functions that rules take their inputs and parameters from.

import shutil
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import apply_wildcards

from glitchtrace.core import (
    configuration,
    grid,
    jobs,
    paths,
    provenance,
    recorded,
    registry,
    resources,
)
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.paths import audit_files
from glitchtrace.core.registry import base_name
from glitchtrace.repair import asking


def _given_by(module):
    """The files that the configuration comes from, the last overriding."""
    return [] if module else [DEFAULT, *workflow.overwrite_configfiles]


def _load():
    """The checked and complete configuration."""
    given = (
        workflow.modifier.skip_configfile
    )  # by a workflow that uses this one as a module
    default = None if given else configuration.read(DEFAULT)
    resolved = configuration.complete(config, default, ROOT, given_by=_given_by(given))
    studies = [
        file
        for file in workflow.overwrite_configfiles
        if not given and not DEFAULT.samefile(file)
    ]
    if resolved["study"] is None and studies:
        resolved["study"] = configuration.study_name(studies[-1])
    return resolved


def checked(function, *arguments):
    """What a function answers; what is wrong with the configuration is said in one line."""
    try:
        return function(*arguments)
    except GlitchtraceError as error:
        given = _given_by(workflow.modifier.skip_configfile)
        raise WorkflowError(str(configuration.located(error, config, given)))


CONFIG = checked(_load)
jobs.export_environment(ROOT / "src", CONFIG["data_root"])


def outside(kind, name, known):
    """The error of a target whose path names what the study has not."""
    return WorkflowError(
        f"the target names the {kind} '{name}', which is not in this study (it has "
        f"{', '.join(sorted(known)) or 'none'}); correct the path, add a block to the study, or give the "
        "--configfile of another"
    )


class Settings(dict):
    """Complete settings by the name of a component of one kind, of those that the study names."""

    def __init__(self, kind, settings):
        super().__init__(settings)
        self.kind = kind

    def __missing__(self, name):
        raise outside(self.kind, name, self)


SETTINGS = {kind: Settings(kind, named) for kind, named in CONFIG["settings"].items()}
GRID = grid.Grid(
    cell.wildcards() for cell in checked(grid.cells, CONFIG["grid"], SETTINGS)
)
checked(
    recorded.check_folders,
    CONFIG,
    [paths.CELL.removeprefix("<results>/").format(**cell) for cell in GRID.rows()],
)
MEMORISED = [
    [pair["dataset"], pair["model"]]
    for pair in GRID.distinct("dataset", "model")
    if grid.memorised(pair["dataset"], pair["model"], SETTINGS)
]
DETECTORS = registry.chosen("detector", CONFIG["detectors"])
OF_PICTURES = {
    name for name in DETECTORS if "pictures" in registry.card("detector", name)["needs"]
}
COUNTERS = registry.chosen("counter", CONFIG["counters"])
HEADLINE = "f1_published" if CONFIG["evaluation"]["compat"]["f1_threshold"] else "f1"


def record_settings():
    """Note beside the results with which settings the names of components stand in their paths."""
    if workflow.is_main_process:
        checked(recorded.write, CONFIG)


def begin_run():
    """What a run does before its first job."""
    record_settings()
    limit = getattr(workflow.scheduling_settings, "max_jobs_per_timespan", None)
    default = limit is not None and (limit.max_jobs, limit.timespan) == (100, 1)
    if default and not workflow.non_local_exec:
        # By its default of 100 starts a second Snakemake looks for jobs once more a second after every look, so that
        # each finished job adds a look a second to the end of the run.  A limit that a user gives is kept, and a
        # cluster's submissions are limited.
        workflow.scheduler.job_rate_limiter = None


if not workflow.modifier.is_main_snakefile():
    # Snakemake takes hooks from the outer workflow alone.
    begin = workflow._onstart
    workflow._onstart = lambda log: (begin_run(), begin(log))

STARTED = time.monotonic()


def say_what_was_found():
    """Print the closing summary of the study."""
    from glitchtrace.reporting.closing import closing_lines

    results = CONFIG["pathvars"].get("results", "results")
    folder = paths.study_folder(CONFIG["study"]).replace("<results>", results)
    seconds = time.monotonic() - STARTED
    print(
        "\n".join(checked(closing_lines, folder, seconds, HEADLINE, MEMORISED)),
        file=sys.stderr,
    )


def remove_shared():
    """Remove what the cells of this run have left to each other: it takes 1 GiB for a seed of a tenth of MNIST."""
    if workflow.is_main_process:
        results = CONFIG["pathvars"].get("results", "results")
        shutil.rmtree(paths.SHARED.replace("<results>", results), ignore_errors=True)


# What rules of papers add: files of the targets `all` and `figures` (input functions), and (cells, templates) of
# the records that describe the study.
EVERYTHING, FIGURES, RECORDS = [], [], []


pathvars:
    study=paths.study_folder(CONFIG["study"]),
    detectors=paths.choice_folder(CONFIG["detectors"], beside=CONFIG["counters"]),
    policies=paths.choice_folder(CONFIG["policies"], "repair-"),
    truth=paths.truth_folder(CONFIG["truth"]),
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


wildcard_constraints:
    **paths.WILDCARDS,


# --- files of cells ------------------------------------------------------------------------------------------------


def files_of(cells, *templates):
    """The files of each cell, in the order of the cells.

    A template is a file of a rule's output, a list of them, or a pattern. Unlike expand() this keeps what Snakemake
    noted of an output: the storage or the prefix that it lies in.
    """
    patterns = [
        pattern
        for template in templates
        for pattern in ([template] if isinstance(template, str) else template)
    ]
    return [filled(pattern, cell) for cell in cells for pattern in patterns]


def filled(pattern, wildcards):
    """A file of a rule's output, or of a pattern, with its wildcards filled in."""
    if hasattr(pattern, "apply_wildcards"):
        return pattern.apply_wildcards(wildcards)
    return apply_wildcards(pattern, wildcards)


def remembered(function):
    """The function of the wildcards with its answers kept: for what is the same for every ratio and seed.

    Of a value that is no function: the function that gives it.
    """
    if not callable(function):
        return lambda wildcards: function
    answers = {}

    def answer(wildcards):
        key = tuple(
            item for item in wildcards.items() if item[0] not in ("ratio", "seed")
        )
        if key not in answers:
            answers[key] = function(wildcards)
        return answers[key]

    return answer


def each(cells, *templates):
    """Input function: the files of each of the cells, which may be a function of the wildcards."""
    return signed(
        lambda wildcards=None: files_of(
            cells(wildcards) if callable(cells) else cells, *templates
        )
    )


def where(asked, *templates):
    """Input function: files without wildcards, where they are asked for."""
    return lambda wildcards=None: files_of([{}] if asked else [], *templates)


def answering(target, study, *parts):
    """Input function of a target: the files of its parts; where there are none, an error naming a study."""

    def inputs(wildcards):
        found = [file for files in parts for file in files()]
        if not found:
            raise WorkflowError(
                f"target {target}: the configuration has no runs for it; "
                f"add --configfile config/studies/{study}.yaml"
            )
        return found

    return inputs


def in_study(select, wildcards, *keys):
    """The cells of the grid that have the wildcards' values of some keys; an error where it has none."""
    found = select(**{key: wildcards[key] for key in keys})
    if not found:
        wanted, rows = " ".join(wildcards[key] for key in keys), GRID.distinct(*keys)
        raise outside(
            " and ".join(keys), wanted, [" ".join(row.values()) for row in rows]
        )
    return found


def dataset_cells(wildcards):
    """The cells of the wildcard's dataset."""
    return in_study(GRID.rows, wildcards, "dataset")


def glitch_cells(wildcards):
    """The cells of the wildcards' dataset and glitch."""
    return in_study(GRID.rows, wildcards, "dataset", "glitch")


def trainings(wildcards):
    """The trained cells of the wildcards' dataset and glitch, each once whatever its estimators."""
    return in_study(GRID.trainings, wildcards, "dataset", "glitch")


def first_cell(wildcards):
    """The cell of the wildcards with the first seed of the grid, in the order of its folders."""
    cells = in_study(GRID.rows, wildcards, *grid.CELL_KEYS)
    return min(cells, key=lambda cell: f"{cell['seed']}/")


def first_seed(template):
    """Input function: the file of the first seed of the grid for the wildcards' cell."""
    return signed(lambda wildcards: min(files_of([first_cell(wildcards)], template)))


# --- inputs and parameters of one job ------------------------------------------------------------------------------


def source_files(*templates):
    """Input function: files of every source whose rows the cell uses, the host's first."""

    def sources(wildcards):
        settings = SETTINGS["glitch"][wildcards.glitch]
        names = grid.sources(wildcards.dataset, wildcards.glitch, settings)
        return [{"source": name} for name in names]

    return each(sources, *templates)


# What stages read beside the features of sources: labels and descriptions.
BESIDE = (paths.SOURCE_LABELS, paths.SOURCE_DESCRIPTION)
beside_sources = source_files(*BESIDE)
beside_host = each(
    lambda wildcards: [{"source": registry.source_of(wildcards.dataset)}], *BESIDE
)


def host_file(template):
    """Input function: one file of the dataset's own source."""
    return lambda wildcards: filled(
        template, {"source": registry.source_of(wildcards.dataset)}
    )


def host_files(template):
    """Input function: the same as a list of one, for stages that also take foreign sources."""
    return lambda wildcards: [host_file(template)(wildcards)]


def host_features(wildcards):
    """Input function: the features of the dataset's own source, dense or sparse."""
    source = registry.source_of(wildcards.dataset)
    sparse = registry.card("dataset", source)["modality"] == "sparse"
    return files_of(
        [{"source": source}], paths.SPARSE_FEATURES if sparse else paths.SOURCE_FEATURES
    )


@signed
def annotation_files(wildcards):
    """Input function: the table of human labels that the glitch reads, if any."""
    name = registry.card("glitch", wildcards.glitch).get("annotations")
    if name == "dataset":
        name = registry.base_name(wildcards.dataset)
    return files_of([{"annotation": name}] if name else [], paths.ANNOTATIONS)


@signed
def probed_features(wildcards):
    """Input function: the features of the dataset's own source, where the glitch reads rows."""
    needed = registry.card("glitch", wildcards.glitch).get("reads_rows")
    return host_features(wildcards) if needed else []


def of_frozen(wildcards):
    """The wildcards, where their model is trained on the extracted features of a frozen backbone."""
    return [wildcards] if frozen(wildcards.model) else []


def further_representations(wildcards):
    """Parameter function: representations beside the head's inputs that the backbone keeps and a detector asks for."""
    kept = SETTINGS["model"][wildcards.model].get("representations", [])
    if not kept:
        return []
    names = fitting(wildcards)
    if any(registry.card("detector", name).get("views") == "all" for name in names):
        asked = set(kept)
    else:
        asked = {
            SETTINGS["detector"].get(name, {}).get("representation") for name in names
        }
    return [name for name in kept if name in asked and name != "penultimate"]


def of_further(wildcards):
    """The wildcards, where a detector asks for a representation beside the head's inputs."""
    return [wildcards] if further_representations(wildcards) else []


further_features = each(of_further, paths.FEATURES)
further_split = each(of_further, paths.SPLIT)


def further_sources(*templates):
    """Input function: files of the cell's sources, where a detector asks for a representation of its own."""
    of_sources = source_files(*templates)
    return signed(
        lambda wildcards: of_sources(wildcards) if of_further(wildcards) else []
    )


# What says that the features of the cell's pictures are at hand, without and with the test pictures.
stored_features = each(of_frozen, paths.FEATURES)
stored_test_features = each(of_frozen, paths.FEATURES, paths.TEST_FEATURES)


def evidence(detectors, counters=()):
    """Named inputs: the files of the evidence that some detectors and estimators of the number need."""
    cards = [
        *(registry.card("detector", name) for name in detectors),
        *(registry.card("counter", name) for name in counters),
    ]
    needed = {need for card in cards for need in card["needs"]}
    found = dict(EVIDENCE[need] for need in sorted(needed))
    return {
        name: source_files(file) if name == "pictures" else [file]
        for name, file in found.items()
    }


def fitting(wildcards):
    """Parameter function: the study's detectors, of a table without those that need pictures."""
    return detectors_of(wildcards.dataset)


def detectors_of(dataset):
    """The study's detectors, of a table without those that need pictures."""
    table = registry.card("dataset", dataset)["modality"] != "image"
    return [name for name in DETECTORS if not (table and name in OF_PICTURES)]


def detector_settings(detectors):
    """The complete settings of those of some detectors that have any."""
    found = {name: SETTINGS["detector"].get(name) for name in detectors}
    return {name: settings for name, settings in found.items() if settings}


def audited(wildcards):
    """Input function of the target: what an audit writes."""
    if not AUDITED:
        raise WorkflowError(
            "target audit: no data are named; add --config 'audit={data: FILE, settings: {label: COLUMN}}'"
        )
    return list(AUDITED.values())


@signed
def local_weights(wildcards):
    """Input function: the file that a model takes its weights from, where it is a local one."""
    file = Path(SETTINGS["model"][wildcards.model].get("weights") or "none")
    return [local(str(file))] if file.suffix and file.is_file() else []


@signed
def beside_training(wildcards):
    """Input function: what stages that build a network read beside features: of sources, and weights of one's own."""
    return [*beside_sources(wildcards), *local_weights(wildcards)]


def sources_of(*, sparse):
    """Wildcard pattern: the datasets whose rows are, or are not, stored sparse."""
    cards = {name: registry.card("dataset", name) for name in registry.names("dataset")}
    return "|".join(
        name + (r"(?:@[a-z0-9_]+)?" if card.get("own") else "")
        for name, card in cards.items()
        if (card["modality"] == "sparse") == sparse
    )


def own_settings(wildcards):
    """Parameter function: the settings that say where a dataset of the user's own is; None for any other."""
    card = registry.card("dataset", wildcards.source)
    if not card.get("own"):
        return None
    chosen = SETTINGS["dataset"].get(wildcards.source, {})
    return {key: chosen[key] for key in card["settings"] if key in chosen}


def own_content(wildcards):
    """Parameter function: checksums of the user's own files: what they hold decides what runs again."""
    path = (own_settings(wildcards) or {}).get("path")
    return provenance.own_files("dataset", wildcards.source, path)


def split_settings(wildcards):
    """Parameter function: the settings of a dataset that all datasets have: how it is split."""
    chosen = SETTINGS["dataset"][wildcards.dataset]
    return {key: chosen[key] for key in registry.kinds()["dataset"]["settings"]}


def settings(kind):
    """Parameter function: the complete settings of the wildcard's component of one kind."""
    return lambda wildcards: SETTINGS[kind][wildcards[kind]]


def model_settings(wildcards):
    """Parameter function: the settings of the model without its training table."""
    chosen = SETTINGS["model"][wildcards.model]
    return {key: value for key, value in chosen.items() if key != "training"}


def training_settings(wildcards):
    """Parameter function: learning rate, batch size and epochs of the model on the dataset."""
    return grid.training_settings(SETTINGS["model"][wildcards.model], wildcards.dataset)


def number(name):
    """Parameter function: a wildcard as a whole number."""
    return lambda wildcards: int(wildcards[name])


def frozen(model):
    """Whether a model is trained on the extracted features of a frozen backbone."""
    return registry.card("model", model)["view"] == "features"


def published_contamination(wildcards):
    """Parameter function: what the published code believes in: for appended anomalies the requested ratio."""
    appended = base_name(wildcards.glitch) == "far_anomalies"
    return float(wildcards.ratio) if appended else None


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
        return provenance.job_fingerprint(
            function, {**dict(wildcards.items()), **filled}
        )

    parameters = {key: signed(value) for key, value in parameters.items()}
    return {"stage": function, **parameters, "code": signed(remembered(code))}


# --- figures and tables --------------------------------------------------------------------------------------------


def plain_files(stem):
    """The files of a figure in all formats, none of which goes into the report."""
    return [f"{stem}.{extension}" for extension in CONFIG["figures"]["formats"]]


def figure_files(stem, caption, category):
    """The files of one figure in all formats; the first goes into the report."""
    first, *others = plain_files(stem)
    return [table_file(first, caption, category, "figure"), *others]


def table_file(path, caption, category, form="table"):
    """A table or page that goes into the report, usually what stands behind a figure, beside it."""

    # One label only: of a second with two values the report makes a switch, and its page stays empty
    # where a result exists for one position of the switch alone.
    def labels(wildcards):
        from glitchtrace.reporting.page import title

        return {"result": f"{title(caption, dict(wildcards.items()))} ({form})"}

    return report(
        path,
        caption=str(ROOT / "workflow/report" / f"{caption}.rst"),
        category=category,
        labels=labels,
    )


def records(wildcards):
    """The records of all jobs behind the cells of the study, of every system."""
    return sorted(
        {file for cells, templates in RECORDS for file in files_of(cells, *templates)}
    )


def study_configuration(wildcards):
    """Parameter function: the configuration of the study; where data and results lie belongs to the machine."""
    private = ("pathvars", "data_root", "container")
    return {key: value for key, value in CONFIG.items() if key not in private}


# --- memory as measured, time to ask for, and graphics cards -------------------------------------------------------

# A submitted job runs two Snakemakes of 300 MiB around its stage; one on this machine runs none.
NESTED = 600
# Cards that a job asks for whose networks run on a device: none on a CPU.
GPU = int(CONFIG["device"] != "cpu")


def growing(memory):
    """Resource function: the measured memory of a job in MiB with that of the Snakemakes around it where it is
    submitted, once more with every attempt (profiles/slurm retries)."""

    measured = remembered(memory)

    def scaled(wildcards, attempt):
        nested = NESTED if workflow.non_local_exec or workflow.remote_exec else 0
        return attempt * (measured(wildcards) + nested)

    return signed(scaled)


def lasting(minutes):
    """Resource function: the minutes that a submitted job may take, once more with every attempt.

    Rules without it take seconds; profiles/slurm has their default.
    """

    asked = remembered(minutes)

    def scaled(wildcards, attempt):
        return attempt * asked(wildcards)

    return signed(scaled)


def training_memory(wildcards):
    """MiB of a job that trains the wildcards' model on their dataset."""
    return resources.training(wildcards.dataset, wildcards.model, SETTINGS)


def influence_memory(job):
    """Resource function: MiB of an influence job, of the matrix or of the profiles."""
    return lambda wildcards: resources.influence(
        job, wildcards.dataset, wildcards.model, wildcards.estimator, SETTINGS
    )


def detection_memory(detectors):
    """Resource function: MiB of a job that asks detectors about the wildcards' cell."""
    return lambda wildcards: resources.detection(
        wildcards.dataset, wildcards.model, SETTINGS, detectors
    )


def training_minutes(trainings=1):
    """Minutes of a job that takes as long as so many trainings of the wildcards' model on their dataset."""
    return lambda wildcards: resources.training_minutes(
        wildcards.dataset, wildcards.model, SETTINGS, trainings
    )


def influence_minutes(wildcards):
    """Minutes of an influence job."""
    return resources.influence_minutes(
        wildcards.dataset, wildcards.model, wildcards.estimator, SETTINGS
    )


def extraction_minutes(wildcards):
    """Minutes of a job that passes the pictures of a dataset through a backbone."""
    return resources.extraction_minutes(wildcards.dataset, SETTINGS)
