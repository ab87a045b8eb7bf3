"""The configuration: checked against the schema with readable messages, and resolved to complete settings.

``workflow/schemas/config.schema.yaml`` is written by hand; the blocks of the systems and the tables of components
are added when the workflow starts, from what the registered modules declare.
"""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema

from glitchtrace.core import complaints, grid, recorded, registry, study_files
from glitchtrace.core.errors import GlitchtraceError

# What shared files depend on beside the settings of components.
SHARED_KEYS = recorded.KEYS
SCHEMA = Path("workflow/schemas/config.schema.yaml")
# The default study, and the settings of components that all studies share, by kind.
DEFAULT = Path("config/config.yaml")
VARIANTS = Path("config/variants")

# What the values of an axis are, unless a block says otherwise.
_VALUES: dict[str, dict[str, Any]] = {
    "ratios": {"type": ["string", "number"]},
    "thresholds": {"type": ["string", "number"]},
    "seeds": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
}


def load_schema(root: str | Path = ".") -> dict[str, Any]:
    """The whole configuration schema of the workflow in ``root``.

    The hand-written file with the blocks and the tables of components that registered modules declare.
    """
    schema = read(Path(root) / SCHEMA)
    schema["properties"].update({key: _block_schema(spec) for key, spec in registry.blocks().items()})
    schema["properties"].update(component_tables())
    return schema


def read(file: str | Path) -> dict[str, Any]:
    """The content of a file of the configuration; see ``study_files.read``, whose errors it raises."""
    return study_files.read(file).content


def variants(root: str | Path = ".") -> dict[str, Any]:
    """The shipped settings of components, table → name → settings, of the workflow in ``root``."""
    shared: dict[str, Any] = {}
    for file in sorted((Path(root) / VARIANTS).glob("*.yaml")):
        shared = merge(shared, read(file))
    return shared


def complete(
    config: Mapping[str, Any],
    default: Mapping[str, Any] | None,
    root: str | Path = ".",
    given_by: Sequence[str | Path] = (),
) -> dict[str, Any]:
    """A configuration, checked and with every default filled in; see ``resolve``.

    ``default`` is the default study, ``config`` the same merged with the study (None: a workflow that uses this one
    as a module gave all of it); ``root`` the folder of the workflow, ``given_by`` the files that ``config`` comes
    from, the last overriding.  Components of the user's own are registered first.  Raises GlitchtraceError with one
    line for the first fault, with file and line where a file holds it.
    """
    read_files = [study_files.read(file) for file in given_by]
    try:
        return _complete(config, default, root)
    except GlitchtraceError as error:
        raise study_files.located(error, read_files, config) from None


def located(
    error: GlitchtraceError, config: Mapping[str, Any], given_by: Sequence[str | Path]
) -> GlitchtraceError:
    """An error in what follows from a configuration, with file and line where a file holds what it speaks of."""
    try:
        files = [study_files.read(file) for file in given_by]
    except GlitchtraceError:
        return error  # of a file that cannot be read it says so, with the line
    return study_files.located(error, files, config)


def _complete(
    config: Mapping[str, Any], default: Mapping[str, Any] | None, root: str | Path
) -> dict[str, Any]:
    places = config.get("components") or ()
    if isinstance(places, str):
        raise GlitchtraceError(f"components: '{places}' should be a list; write [{places}]")
    complaints.check_values(config)
    registry.add(places)
    for component in registry.own():
        complaints.check_card(component)
    schema, shared = load_schema(root), variants(root)
    check(config, schema)
    whole = merge(shared, config)
    if default is not None:
        check_study(whole, merge(shared, default))
    _check_effects(whole, schema)
    resolved = resolve(whole, schema)
    recorded.check(resolved, _of_all_studies(resolved, merge(shared, default or {}), schema))
    return resolved


def _of_all_studies(
    resolved: Mapping[str, Any], base: Mapping[str, Any], schema: Mapping[str, Any]
) -> dict[str, Any]:
    """Device, batch and settings of the components of a study, as the files that all studies share have them."""
    whole = {**_defaults(schema["properties"]), **base}
    found: dict[str, Any] = {key: whole[key] for key in SHARED_KEYS}
    tables = {kind: table for table, kind in registry.tables().items()}
    found["settings"] = {}
    for kind, names in resolved["settings"].items():
        found["settings"][kind] = {
            name: _named_settings(whole, schema, tables[kind], name)
            for name in names
            if "@" not in name or name in whole[tables[kind]]
        }
    return found


def component_tables() -> dict[str, Any]:
    """The schema of the component tables and of the list of signals, from the cards."""
    tables: dict[str, Any] = {}
    for table, kind in registry.tables().items():
        tables[table] = {
            "type": "object",
            "description": f"Settings by {kind} name; `name@variant` gives the same {kind} other settings.",
            "default": {},
            "additionalProperties": False,
            "patternProperties": {
                f"^{name}(@[a-z0-9_]+)?$": {
                    "type": "object",
                    "description": registry.card(kind, name)["summary"],
                    "additionalProperties": False,
                    "properties": registry.settings(kind, name),
                }
                for name in registry.names(kind)
            },
        }
    for spec in registry.kinds().values():
        if "listed" in spec:
            tables[spec["listed"]] = {
                "description": "`default`, `all`, or names; another choice has its own files.",
                "default": "default",
                "type": ["string", "array"],
                "items": {"type": "string"},
                "minItems": 1,
                "uniqueItems": True,
            }
    return tables


def _block_schema(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a list of blocks from its declaration: axes with what they mean, and settings of a block."""
    properties = {
        key: {
            "type": "array",
            "uniqueItems": True,
            "minItems": 1,
            "items": _VALUES.get(key, {"type": "string"}),
            **about,
        }
        for key, about in spec["axes"].items()
    }
    return {
        "type": "array",
        "default": [],
        "description": spec["description"],
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": [key for key, about in spec["axes"].items() if "default" not in about],
            "properties": {**properties, **spec.get("settings", {})},
        },
    }


def check(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise GlitchtraceError with one line for the most telling violation of the schema."""
    errors = list(complaints.Validator(schema).iter_errors(config))
    if errors:
        raise complaints.explained(jsonschema.exceptions.best_match(errors))
    blocks = [block for key in registry.blocks() for block in config.get(key) or ()]
    if not blocks:
        raise GlitchtraceError(f"nothing to do: add a block to {' or '.join(registry.blocks())}")
    _check_blocks(config)
    for kind, spec in registry.kinds().items():
        if "listed" in spec:
            try:
                registry.chosen(kind, config.get(spec["listed"]) or "default")
            except GlitchtraceError as error:
                raise GlitchtraceError(f"{spec['listed']}: {error}") from None
            _check_choice(kind, spec["listed"], config.get(spec["listed"]) or "default")


def _check_choice(kind: str, key: str, choice: str | Sequence[str]) -> None:
    """Raise KeyedError where a group holds another part of a choice: the same set would have files of its own."""
    if isinstance(choice, str):
        return
    for group in {"default", "all"} & {*choice}:
        held = {*registry.chosen(kind, group), *(["default"] if group == "all" else [])} - {group}
        for place, name in enumerate(choice):
            if name in held:
                problem = f"{key}[{place}]: '{name}' is in '{group}'; leave it out"
                raise study_files.KeyedError(problem, (key, place))


def _check_blocks(config: Mapping[str, Any]) -> None:
    """Check names and ratios of all blocks; an error leads to the value."""
    ratios: dict[object, None] = {}
    for key in registry.blocks():
        for position, block in enumerate(config.get(key) or ()):
            for axis, values in block.items():
                if axis != "ratios" and axis not in registry.tables():
                    continue
                for place, value in enumerate(values):
                    try:
                        if axis == "ratios":
                            grid.check_ratios([*ratios, value])
                            ratios[value] = None
                        else:
                            grid.check_names([{axis: [value]}], registry.tables())
                    except GlitchtraceError as error:
                        raise study_files.KeyedError(str(error), (key, position, axis, place)) from None


def _check_effects(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise GlitchtraceError for what a table says of a dataset that there is not, or that does nothing.

    A setting that says ``only_with`` works beside certain values of others alone; ``without`` of a card names settings
    of its kind for which a component has no use, each with the reason.
    """
    datasets = config.get("datasets") or {}
    for model, settings in (config.get("models") or {}).items():
        for name in settings.get("training") or {}:
            if name == "default" or name in datasets or name in registry.names("dataset"):
                continue
            close = difflib.get_close_matches(name, ["default", *registry.names("dataset"), *datasets], 1)
            hint = f"did you mean '{close[0]}'?" if close else "write 'default' or the name of a dataset"
            row = ("models", model, "training", name)
            raise study_files.KeyedError(
                f"{study_files.key_of(row[:3])}: unknown dataset '{name}'; {hint}", row
            )
    for name, settings in datasets.items():
        inherited = {**(datasets.get(registry.base_name(name)) or {}), **settings}
        for key in settings:
            problem = grid.without_effect(name, key, inherited)
            if problem:
                path = ("datasets", name, key)
                raise study_files.KeyedError(f"{study_files.key_of(path)}: {problem}", path)
    for table, kind in registry.tables().items():
        for name, settings in (config.get(table) or {}).items():
            whole = _settings(config, schema, table, name)
            unused = registry.card(kind, name).get("without", {})
            for key in settings:
                if settings[key] and key in unused:
                    path = (table, name, key)
                    raise study_files.KeyedError(
                        f"{study_files.key_of(path)}: {unused[key]}; leave it out", path
                    )
                for other, values in registry.settings(kind, name)[key].get("only_with", {}).items():
                    if whole[other] not in values:
                        now, needed = (json.dumps(value).strip('"') for value in (whole[other], values[0]))
                        path = (table, name, key)
                        raise study_files.KeyedError(
                            f"{study_files.key_of(path)}: has no effect with {other} {now}; leave it out, or write "
                            f"{other}: {needed}",
                            path,
                        )


def check_study(config: Mapping[str, Any], base: Mapping[str, Any]) -> None:
    """Raise GlitchtraceError where a study changes settings that other studies share.

    ``base`` is the default study with the shipped variants, ``config`` the same merged with the study.  A name with
    other settings would write other content to the same files; it must become a variant.
    """
    for key in SHARED_KEYS:
        if config.get(key) != base.get(key):
            raise GlitchtraceError(f"{key}: all studies share it; set it in config/config.yaml")
    for table, kind in registry.tables().items():
        shared = base.get(table) or {}
        for name, settings in (config.get(table) or {}).items():
            if ("@" not in name or name in shared) and settings != (shared.get(name) or {}):
                raise GlitchtraceError(
                    f"{table}.{name}: a study may not change the settings of a {kind} that other studies share; "
                    f"name a variant, e.g. {table}: {{'{registry.base_name(name)}@mine': ...}}, and use it in the grid"
                )


def resolve(config: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a checked configuration with every default filled in.

    ``settings`` is added: kind -> name -> complete settings of every component that the grid names, where a
    variant inherits from its base name.
    """
    resolved = {**_defaults(schema["properties"]), **config}
    for key, value in _defaults(schema["properties"]).items():
        if isinstance(value, dict):
            resolved[key] = merge(value, config.get(key) or {})
    for key in registry.blocks():
        resolved[key] = [{**_defaults(_block(schema, key)), **block} for block in config.get(key) or ()]
    chosen: dict[str, dict[str, Any]] = {}
    for table, kind in registry.tables().items():
        places: dict[str, study_files.PathOf] = {}
        for key in registry.blocks():
            for position, block in enumerate(resolved[key]):
                for place, name in enumerate(block.get(table, ())):
                    places.setdefault(str(name), (key, position, table, place))
        listed = registry.kinds()[kind].get("listed")
        if listed:
            for name in registry.chosen(kind, resolved[listed]):
                places.setdefault(name, (listed,))
        for name, path in places.items():
            if "@" in name and name not in resolved[table]:
                raise study_files.KeyedError(
                    f"{study_files.key_of(path)}: {name} is a variant without settings; "
                    f"add {table}: {{'{name}': ...}}",
                    path,
                )
        chosen[kind] = {name: _named_settings(resolved, schema, table, name) for name in sorted(places)}
    resolved["settings"] = chosen
    return resolved


def study_name(file: str | Path) -> str:
    """The name of a study whose file does not give one: the file's own name.

    Raises GlitchtraceError if that is not a legal folder name.
    """
    name = Path(file).stem
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise GlitchtraceError(
            f"{Path(file).name}: '{name}' cannot name a study; add the key 'study: <lower_case_name>' to the file"
        )
    return name


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` updated by ``over``; nested mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = (
            merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


def _block(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = schema["properties"][key]["items"]["properties"]
    return properties


def _defaults(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults of a level of the schema; a nested object with properties has a default made of theirs."""
    found = {}
    for key, fragment in properties.items():
        if "properties" in fragment:
            found[key] = _defaults(fragment["properties"])
        elif "default" in fragment:
            found[key] = fragment["default"]
    return found


def _settings(config: Mapping[str, Any], schema: Mapping[str, Any], table: str, name: str) -> dict[str, Any]:
    """Complete settings of one component: defaults, then its base name's, then the variant's."""
    base = registry.base_name(name)
    fragment = schema["properties"][table]["patternProperties"][f"^{base}(@[a-z0-9_]+)?$"]
    given = config[table]
    settings = merge(_defaults(fragment["properties"]), given.get(base) or {})
    return merge(settings, given.get(name) or {}) if name != base else settings


def _named_settings(
    config: Mapping[str, Any], schema: Mapping[str, Any], table: str, name: str
) -> dict[str, Any]:
    """Complete settings of one component, those of a mixture with the settings of its steps."""
    settings = _settings(config, schema, table, name)
    if table == "glitches" and "steps" in settings:
        settings["steps"] = [_step(config, schema, step) for step in settings["steps"]]
    return settings


def _step(config: Mapping[str, Any], schema: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, Any]:
    """One step of a mixture with the complete settings of its glitch."""
    name = step["glitch"]
    if "@" in name and name not in config["glitches"]:
        raise GlitchtraceError(
            f"glitches: a mixture's step {name} is a variant without settings; add glitches: {{'{name}': ...}}"
        )
    complete = {**_settings(config, schema, "glitches", name), "seed": None}
    unknown = sorted(set(step) - {"glitch", "ratio", *complete})
    if unknown:
        raise GlitchtraceError(
            f"glitches: a mixture's step {step['glitch']} has the unknown key '{unknown[0]}'; "
            f"known: {', '.join(sorted(complete))}"
        )
    own = {key: value for key, value in step.items() if key not in ("glitch", "ratio", "seed")}
    try:
        complaints.check_settings("glitch", name, own, name)
    except GlitchtraceError as error:
        raise GlitchtraceError(f"glitches: a mixture's step {error}") from None
    return {**complete, **step}
