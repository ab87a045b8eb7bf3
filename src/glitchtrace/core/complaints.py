"""What is wrong with a configuration, in one line: the key, the value, the remedy."""

import datetime
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import jsonschema

from glitchtrace.core import paths, registry, study_files
from glitchtrace.core.errors import GlitchtraceError


def check_values(config: Mapping[str, Any]) -> None:
    """Raise GlitchtraceError for what no key of a study takes, whichever way it came in."""
    for path, value in study_files.values(config):
        key = study_files.key_of(path)
        if path and not isinstance(path[-1], str | int):
            raise study_files.KeyedError(f"{key}: the key {path[-1]!r} is no text; write it in quotes", path)
        if isinstance(value, float) and not math.isfinite(value):
            raise study_files.KeyedError(
                f"{key}: {value} is no number of a study; write a finite number", path
            )
        if isinstance(value, datetime.date):
            raise study_files.KeyedError(f"{key}: {value} is read as a date; write '{value}'", path)
        if isinstance(value, int) and abs(value) >= 2**63:
            raise study_files.KeyedError(f"{key}: {_brief(value)} is too large; write a smaller number", path)


def explained(error: jsonschema.ValidationError) -> study_files.KeyedError:
    """One line for one violation: the key, what is wrong, and the remedy."""
    path = list(error.absolute_path)
    key = study_files.key_of(path)

    def said(problem: str, *below: str) -> study_files.KeyedError:
        return study_files.KeyedError(f"{key}: {problem}", (*path, *below))

    value = _brief(error.instance)
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
        base, at, _ = unknown[0].partition("@")
        if at and base in known and patterns:
            return said(
                f"'{unknown[0]}' is not a legal name; after the @ write lower-case letters, digits and _",
                unknown[0],
            )
        return said(f"unknown key '{unknown[0]}'; {hint}", unknown[0])
    if error.validator == "enum":
        values = ", ".join("null" if value is None else str(value) for value in error.validator_value)
        return said(f"unknown value '{error.instance}'; known: {values}")
    if error.validator == "uniqueItems":
        given = [str(value) for value in error.instance]
        twice = next((value for value in given if given.count(value) > 1), given[0])
        same = " (0.10 and 0.1 are the same ratio)" if path[-1:] == ["ratios"] else ""
        return said(f"{twice} is given twice; name each value once{same}")
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return said(f"the key '{missing[0]}' is missing; add {missing[0]}: ...")
    if error.validator == "type":
        wanted = error.validator_value
        wanted = wanted if isinstance(wanted, list) else [wanted]
        return said(f"{value} should be of type {' or '.join(wanted)}{_remedy(error.instance, wanted)}")
    if error.validator in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        relation = {
            "minimum": "at least",
            "maximum": "at most",
            "exclusiveMinimum": "above",
            "exclusiveMaximum": "below",
        }[str(error.validator)]
        return said(f"{value} is out of range; write a number {relation} {error.validator_value}")
    if error.validator == "minItems":
        return said(
            f"the list {value} is too short; write {error.validator_value} at least, or leave out the key"
        )
    if error.validator == "minLength":
        return said("the text is empty; write one, or leave out the key")
    if error.validator == "pattern":
        return said(f"{value} is not a legal name (pattern {error.validator_value}); write another")
    return said(_one_line(error.message))


def _remedy(value: Any, wanted: Sequence[str]) -> str:
    """How to write a value of a wrong kind, led by a semicolon."""
    if value is None:
        return "; nothing is written here: write a value, or leave out the key"
    if "array" in wanted and isinstance(value, str | int | float):
        return f"; write [{str(value).lower() if isinstance(value, bool) else value}]"
    if "string" in wanted and isinstance(value, bool):
        return "; write the word in quotes (YAML reads yes, no, on, off as true or false)"
    if "string" in wanted and isinstance(value, int | float):
        return f"; write '{value}'"
    if "boolean" in wanted and str(value).lower() in ("yes", "no", "on", "off"):
        return f"; write {'true' if value.lower() in ('yes', 'on') else 'false'}"
    if isinstance(value, bool):
        return "; write a number" if {"number", "integer"} & {*wanted} else ""
    if "integer" in wanted and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if {"number", "integer"} & {*wanted} and isinstance(value, str):
        with suppress(ValueError, OverflowError):
            number = float(value)
            if "number" not in wanted:
                return f"; write {int(number)}, without quotes" if number.is_integer() else ""
            return (
                f"; write {study_files.number_text(number)}, without quotes" if math.isfinite(number) else ""
            )
    # Snakemake reads values on the command line as Python does, not as YAML, and nested ones as text.
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return "; write it into a file for --configfile, or --config key=True for a key of the top level"
    return ""


def _brief(value: Any) -> str:
    """A value as a message shows it: on one line, its middle left out where it is long."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of over 30 digits"
    written = _one_line(repr(value))
    return written if len(written) <= 80 else f"{written[:60]} … {written[-15:]}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _is_integer(_checker: object, instance: object) -> bool:
    return isinstance(instance, int) and not isinstance(instance, bool)


# JSON takes 1.0 for a whole number; as a seed it would name another folder than 1.
Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def check_card(found: registry.Entry) -> None:
    """Raise GlitchtraceError, naming file and key, where the card of a component is not what its kind asks for."""
    spec, file = registry.kinds()[found.kind], registry.module_file(found.module)
    where = f"{file}: CARDS.{found.name}" if found.family else f"{file}: CARD"
    in_paths = found.kind in paths.WILDCARDS
    if not re.fullmatch(r"[a-z][a-z0-9_]*" if in_paths else r"[A-Za-z][A-Za-z0-9_]*", found.name):
        raise GlitchtraceError(
            f"{file}: '{found.name}' cannot name a {found.kind}; use {'lower-case ' if in_paths else ''}letters, "
            'digits and _, in the name of the file or in CARD["name"]'
        )
    if found.kind == "dataset" and found.name in paths.RESERVED:
        raise GlitchtraceError(f"{file}: a folder of the results is named '{found.name}'; give another name")
    groups = sorted(spec.get("shared", {}))
    keys = {
        **_CARD,
        "shares": {"anyOf": [{"enum": groups}, {"type": "array", "items": {"enum": groups}}]},
        **spec.get("card", {}),
    }
    schema = {
        "type": "object",
        "properties": keys,
        "required": ["summary", *spec.get("required", ())],
        # A kind that does not say which keys its cards have takes any.
        "additionalProperties": "card" not in spec,
    }
    _check_value(found.card, schema, where)
    settings = registry.settings(found.kind, found.name)
    unknown = sorted(set(found.card.get("defaults", {})) - set(settings))
    if unknown:
        raise GlitchtraceError(
            f"{where}.defaults: there is no setting '{unknown[0]}'; known: {', '.join(settings)}"
        )
    for key, fragment in settings.items():
        try:
            Validator.check_schema(fragment)
        except jsonschema.SchemaError as error:
            at = ".".join(str(part) for part in error.absolute_path)
            raise GlitchtraceError(
                f"{where}.settings.{key}: {_brief(error.instance)} is no JSON schema{f' ({at})' if at else ''}; "
                "write it as the settings in docs/extending.md"
            ) from None
        for other in fragment.get("only_with", {}):
            if other not in settings:
                raise GlitchtraceError(
                    f"{where}.settings.{key}.only_with: there is no setting '{other}'; known: {', '.join(settings)}"
                )
        if "default" in fragment:
            _check_value(fragment["default"], fragment, f"{where}.settings.{key}.default")


# What every card may hold; see ``registry``.
_CARD = {
    "summary": {"type": "string", "minLength": 1},
    "name": {"type": "string"},
    "label": {"type": "string"},
    "settings": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "required": ["description"],
            "anyOf": [{"required": ["default"]}, {"required": ["properties"]}],
            "properties": {
                "only_with": {"type": "object", "additionalProperties": {"type": "array", "minItems": 1}}
            },
        },
    },
    "defaults": {"type": "object"},
    "uses": {"type": "object"},
}


def _check_value(value: Any, schema: Mapping[str, Any], where: str) -> None:
    """Raise KeyedError for the most telling violation of a schema, with its place below ``where``."""
    errors = list(Validator(schema).iter_errors(value))
    if errors:
        error = explained(jsonschema.exceptions.best_match(errors))
        said = str(error)
        said = f": {said.removeprefix('config: ')}" if said.startswith("config: ") else f".{said}"
        raise study_files.KeyedError(f"{where}{said}", [where, *error.path])


def check_settings(kind: str, name: str, given: Mapping[str, Any], where: str) -> None:
    """Raise KeyedError for settings of a component that its card does not have, or of another type or range.

    For settings by other ways than a configuration, whose schema holds them already; ``where`` is what the caller
    calls them.
    """
    if not isinstance(given, Mapping):
        raise study_files.KeyedError(f"{where}: {_brief(given)} are no settings; give a mapping", [where])
    known = registry.settings(kind, name)
    schema = {"type": "object", "additionalProperties": False, "properties": known}
    _check_value(dict(given), schema, where)
