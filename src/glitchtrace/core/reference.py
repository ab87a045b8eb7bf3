"""The reference of the configuration: every key with type, default and meaning, and the tables of config/README.md."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from glitchtrace.core import configuration, files, registry

README = Path("config/README.md")
_HEAD = "|key|type|default|meaning|\n|---|---|---|---|"


def parameters(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Every parameter of the schema as (key, type, default, description), in the order of the schema."""
    yield from _walk("", schema["properties"])


def tables(schema: Mapping[str, Any]) -> str:
    """The reference in Markdown: what every study has, then a section per kind of component.

    Settings that all components of a kind have, or that several share, stand once.
    """
    general = {
        key: fragment for key, fragment in schema["properties"].items() if key not in registry.tables()
    }
    parts = [_table(_walk("", general))]
    parts += [section(table, kind) for table, kind in registry.tables().items()]
    return "\n\n".join(parts)


def section(table: str, kind: str) -> str:
    """The names of a kind and the settings in its table of the configuration."""
    spec, names = registry.kinds()[kind], registry.names(kind)
    lines = [f"### {table}", ", ".join(f"`{name}`" for name in names) + "."]
    rows = list(_walk("", spec.get("settings", {})))
    for group, fragments in spec.get("shared", {}).items():
        members = [name for name in names if group in _groups(kind, name)]
        rows += _walk(f"{{{','.join(members)}}}.", fragments)
    for name in names:
        rows += _walk(f"{name}.", registry.card(kind, name).get("settings", {}))
        rows += [
            (f"{name}.{key}", "", _value(value), "")
            for key, value in registry.card(kind, name).get("defaults", {}).items()
        ]
    return "\n\n".join([*lines, _table(iter(rows))] if rows else lines)


def _groups(kind: str, name: str) -> list[str]:
    shares = registry.card(kind, name).get("shares", ())
    return [shares] if isinstance(shares, str) else list(shares)


def _table(rows: Iterator[tuple[str, str, str, str]]) -> str:
    """Rows of a table; keys that mean the same share one."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for key, *about in rows:
        kind, default, text = about
        # A group of keys says nothing that they do not say, nor does a list of names of its table.
        if (kind, default) != ("object", "") and not re.fullmatch(r"\w+ names\.", text):
            found.setdefault((kind, default, text), []).append(f"`{key}`")
    return "\n".join([_HEAD, *(f"|{' '.join(keys)}|{'|'.join(about)}|" for about, keys in found.items())])


def _walk(prefix: str, properties: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for key, fragment in properties.items():
        name = f"{prefix}{key}"
        yield name, _type(fragment), _show(fragment), " ".join(fragment.get("description", "").split())
        yield from _walk(f"{name}.", fragment.get("properties", {}))
        for pattern, inner in fragment.get("patternProperties", {}).items():
            base = re.match(r"\^?([a-z0-9_]+)", pattern)
            yield from _walk(f"{name}.{base[1] if base else '<name>'}.", inner.get("properties", {}))
        if "properties" in fragment.get("items", {}):
            yield from _walk(f"{name}[].", fragment["items"]["properties"])


def _type(fragment: Mapping[str, Any]) -> str:
    if "enum" in fragment:
        named = ", ".join(f"`{value}`" for value in fragment["enum"] if value is not None)
        return f"{named} or null" if None in fragment["enum"] else named
    kind = fragment.get("type", "")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _show(fragment: Mapping[str, Any]) -> str:
    return _value(fragment["default"]) if "default" in fragment else ""


def _value(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).strip()
    return f"`{text.removesuffix('...').strip()}`"


if __name__ == "__main__":
    files.replace_section(README, "parameters", tables(configuration.load_schema()))
