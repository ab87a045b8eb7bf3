"""The configuration: checked against the schema with readable messages, and resolved to complete settings.

``workflow/schemas/config.schema.yaml`` is written by hand; the blocks of the systems and the tables of components
are added when the workflow starts, from what the registered modules declare.
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from glitchtrace.core import grid, registry
from glitchtrace.core.errors import GlitchtraceError

# What shared files depend on beside the settings of components.
SHARED_KEYS = ("device", "evaluation_batch")
SCHEMA = Path("workflow/schemas/config.schema.yaml")
# The default study, and the settings of components that all studies share, by kind.
DEFAULT = Path("config/config.yaml")
VARIANTS = Path("config/variants")

# What the values of an axis are, unless a block says otherwise.
_VALUES: dict[str, dict[str, Any]] = {
    "ratios": {"type": ["string", "number"]},
    "thresholds": {"type": ["string", "number"]},
    "seeds": {"type": "integer", "minimum": 0},
}


def load_schema(root: str | Path = ".") -> dict[str, Any]:
    """The whole configuration schema of the workflow in ``root``.

    The hand-written file with the blocks and the tables of components that registered modules declare.
    """
    schema = _yaml(Path(root) / SCHEMA)
    schema["properties"].update({key: _block_schema(spec) for key, spec in registry.blocks().items()})
    schema["properties"].update(component_tables())
    return schema


def read(file: str | Path) -> dict[str, Any]:
    """The content of a file of the configuration.  GlitchtraceError where it is no YAML, or holds no mapping."""
    try:
        content = _yaml(Path(file))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" near line {place.line + 1}" if place else ""
        raise GlitchtraceError(
            f"{file} cannot be read as YAML{where} ({getattr(error, 'problem', None) or type(error).__name__}); "
            "mend it and run the same command again"
        ) from None
    if not isinstance(content, dict):
        raise GlitchtraceError(
            f"{file} holds no keys; write blocks into it as config/README.md describes them"
        )
    return content


def variants(root: str | Path = ".") -> dict[str, Any]:
    """The shipped settings of components, table → name → settings, of the workflow in ``root``."""
    shared: dict[str, Any] = {}
    for file in sorted((Path(root) / VARIANTS).glob("*.yaml")):
        shared = merge(shared, _yaml(file))
    return shared


def complete(config: Mapping[str, Any], default: Mapping[str, Any], root: str | Path = ".") -> dict[str, Any]:
    """A configuration, checked and with every default filled in; see ``resolve``.

    ``default`` is the default study, ``config`` the same merged with the study; ``root`` the folder of the workflow.
    Components of the user's own are registered first.  Raises GlitchtraceError with one line for the first fault.
    """
    places = config.get("components") or ()
    if isinstance(places, str):
        raise GlitchtraceError(f"components: '{places}' should be a list; write components: [{places}]")
    registry.add(places)
    schema, shared = load_schema(root), variants(root)
    check(config, schema)
    whole = merge(shared, config)
    check_study(whole, merge(shared, default))
    return resolve(whole, schema)


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
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(config))
    if errors:
        raise GlitchtraceError(_explain(jsonschema.exceptions.best_match(errors), config))
    blocks = [block for key in registry.blocks() for block in config.get(key) or ()]
    if not blocks:
        raise GlitchtraceError(f"nothing to do: add a block to {' or '.join(registry.blocks())}")
    grid.check_ratios(ratio for block in blocks for ratio in block.get("ratios", ()))
    grid.check_names(blocks, registry.tables())
    for kind, spec in registry.kinds().items():
        if "listed" in spec:
            try:
                registry.chosen(kind, config.get(spec["listed"]) or "default")
            except GlitchtraceError as error:
                raise GlitchtraceError(f"{spec['listed']}: {error}") from None


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
        names = {
            str(name) for key in registry.blocks() for block in resolved[key] for name in block.get(table, ())
        }
        listed = registry.kinds()[kind].get("listed")
        if listed:
            names.update(registry.chosen(kind, resolved[listed]))
        chosen[kind] = {name: _settings(resolved, schema, table, name) for name in sorted(names)}
    for settings in chosen["glitch"].values():
        if "steps" in settings:
            settings["steps"] = [_step(resolved, schema, step) for step in settings["steps"]]
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


def training_settings(model: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """Learning rate, batch size and epochs of a model on a dataset: by name, base name, or default."""
    table = model["training"]
    row = table.get(dataset) or table.get(registry.base_name(dataset)) or {}
    return {**table["default"], **row}


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` updated by ``over``; nested mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = (
            merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


def _yaml(path: Path) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    return content


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
    if name != base and name not in given:
        raise GlitchtraceError(f"grid: {name} is a variant without settings; add {table}: {{'{name}': ...}}")
    settings = merge(_defaults(fragment["properties"]), given.get(base) or {})
    return merge(settings, given.get(name) or {}) if name != base else settings


def _step(config: Mapping[str, Any], schema: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, Any]:
    """One step of a mixture with the complete settings of its glitch."""
    complete = {**_settings(config, schema, "glitches", step["glitch"]), "seed": None}
    unknown = sorted(set(step) - {"glitch", "ratio", *complete})
    if unknown:
        raise GlitchtraceError(
            f"glitches: a mixture's step {step['glitch']} has the unknown key '{unknown[0]}'; "
            f"known: {', '.join(sorted(complete))}"
        )
    return {**complete, **step}


def _explain(error: jsonschema.ValidationError, config: Mapping[str, Any]) -> str:
    """One line for one violation: the key, what is wrong, and the remedy."""
    key = ".".join(f"[{part}]" if isinstance(part, int) else str(part) for part in error.absolute_path)
    key = key.replace(".[", "[") or "config"
    if error.validator == "additionalProperties":
        known = [*error.schema.get("properties", {})]
        patterns = error.schema.get("patternProperties", {})
        known += [re.match(r"\^([a-z0-9_]+)", pattern)[1] for pattern in patterns]  # type: ignore[index]
        unknown = [
            name
            for name in error.instance
            if name not in known and not any(re.search(p, name) for p in patterns)
        ]
        close = difflib.get_close_matches(registry.base_name(unknown[0]), known, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known))}"
        return f"{key}: unknown key '{unknown[0]}'; {hint}"
    if error.validator == "enum":
        known = [str(value) for value in error.validator_value]
        close = difflib.get_close_matches(str(error.instance), known, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
        return f"{key}: unknown value '{error.instance}'; {hint}"
    if error.validator == "uniqueItems":
        values = [str(value) for value in error.instance]
        twice = next(value for value in values if values.count(value) > 1)
        return f"{key}: {twice} is given twice; name each value once (0.10 and 0.1 are the same ratio)"
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"{key}: the key '{missing[0]}' is missing"
    if error.validator == "type":
        wanted = error.validator_value
        wanted = " or ".join(wanted) if isinstance(wanted, list) else wanted
        # Snakemake reads values on the command line as Python does, not as YAML, and nested ones as text.
        is_word = str(error.instance).lower() in ("true", "false")
        hint = "; write it into a file for --configfile, or --config key=True for a key of the top level"
        return f"{key}: {error.instance!r} should be of type {wanted}{hint if is_word else ''}"
    return f"{key}: {error.message}"
