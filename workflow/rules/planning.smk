# What Snakemake works out anew for every job is kept.  A plan of 8,600 jobs takes three quarters of the time.

import atexit
import functools
import gc
import inspect
import os

from snakemake import (
    output_index as snakemake_index,
    rules as snakemake_rules,
    script as snakemake_script,
)
from snakemake.common import overwrite_function_params
from snakemake.resources import Resource

# The script of all rules.
STAGES = os.path.realpath(ROOT / "workflow/scripts/run_stage.py")

# A plan is made of objects that all stay: Python searches them for garbage seldom, and leaves them to the system at
# the end.
gc.set_threshold(1_000_000, 50, 100)
atexit.register(gc.freeze)


def keep(owner, name, keeping):
    """Put what ``keeping`` makes of a function of Snakemake in its place, once, where this version has it."""
    function = getattr(owner, name, None)
    if function is not None and not hasattr(function, "__wrapped__"):
        kept = functools.wraps(function)(keeping(function))
        alone = isinstance(vars(owner).get(name), staticmethod)
        setattr(owner, name, staticmethod(kept) if alone else kept)


def producers_kept(match_producers):
    """The rules that make a file: many jobs read the same."""

    def answer(index, file):
        answers = vars(index).setdefault("answers", {})
        if file not in answers:
            answers[file] = match_producers(index, file)
        return answers[file]

    return answer


def sources_kept(get_source):
    """What a script says and where it lies, by its path without wildcards: all jobs have the same."""
    answers = {}

    def answer(path, sourcecache, basedir=None, wildcards=None, params=None):
        if "{" in str(path):
            return get_source(path, sourcecache, basedir, wildcards, params)
        key = sourcecache.runtime_cache_path, str(path), basedir
        if key not in answers:
            answers[key] = get_source(path, sourcecache, basedir, wildcards, params)
        return answers[key]

    return answer


def wildcards_kept(make):
    """The wildcards that input functions get: a job has ten of these functions."""
    kept = functools.lru_cache(64)(lambda items: make(fromdict=dict(items)))
    return lambda fromdict: kept(tuple(fromdict.items()))


def jobs_sent_on(generate_preamble):
    """What goes before a script, without unpickling the job, for which it would import Snakemake: the worker does."""
    opened = "import pickle;snakemake = pickle.loads("
    imported = "from snakemake.logging import logger;from snakemake.iocontainers import Snakemake;"

    def answer(path, *arguments, **named):
        preamble = generate_preamble(path, *arguments, **named)
        if os.path.realpath(path.get_path_or_uri(secret_free=True)) != STAGES:
            return preamble
        return preamble.replace(opened, "snakemake = (", 1).replace(imported, "", 1)

    return answer


def signed(function):
    """The function with its parameters at hand: Snakemake asks for them with every job, and Python works them out anew."""
    if inspect.isfunction(function):
        overwrite_function_params(function, inspect.signature(function).parameters)
    return function


keep(snakemake_index.OutputIndex, "match_producers", producers_kept)
keep(snakemake_script, "get_source", sources_kept)
# The functions of a workflow around this one may change what they get.
if workflow.modifier.is_main_snakefile():
    keep(snakemake_rules, "Wildcards", wildcards_kept)
keep(snakemake_script.PythonScript, "generate_preamble", jobs_sent_on)
# Where the script has been put.
keep(workflow.sourcecache, "_cache", functools.cache)
# What every resource of every job goes through, seven times a job, and the folder for temporary files.
signed(Resource.evaluate)
defaults = getattr(workflow.resource_settings, "_parsed_default_resources", {})
for resource in defaults.values():
    signed(getattr(resource, "_evaluator", None))
