"""Files of the configuration, read with the lines of their values.

Snakemake reads them too, and does not say what YAML makes of them: of two blocks of one name it keeps the last,
``010`` is 8 and ``1e-2`` a text.  What a reader would take for something else is refused here, with its line.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from glitchtrace.core.errors import GlitchtraceError

Key = str | int
PathOf = tuple[Key, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_VALUES = 1_000_000
_MOST_DIGITS = 4_000
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {
    f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "merge", "value")
}
_ADVICE = "mend it and run the same command again"


class KeyedError(GlitchtraceError):
    """A fault of the configuration at a key: the message names it, ``path`` leads to it."""

    def __init__(self, message: str, path: Iterable[Key]) -> None:
        super().__init__(message)
        self.path = tuple(path)


@dataclass(frozen=True)
class StudyFile:
    """The content of a file, and for the path to each key and value the line on which it stands, from 1."""

    name: str
    content: dict[str, Any]
    lines: Mapping[PathOf, int]


def read(file: str | Path) -> StudyFile:
    """A file of the configuration.

    Raises GlitchtraceError with file, line and remedy where it is no YAML in UTF-8, holds no mapping, gives a key
    twice, or holds a value that YAML 1.1 takes for another than a reader does.
    """
    text = _text(Path(file))
    loader = _LOADER(text)
    try:
        return _built(file, loader.get_single_node(), is_json=_is_json(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else _place_of_character(file, text)
        problem = str(
            getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
        )
        if mark and "\t" in _line(text, mark.line):
            problem = "a tab; YAML is indented by spaces"
        elif "expected a single document" in str(error):
            problem = "a second document ('---'); write one study into one file"
        raise GlitchtraceError(f"{place}: no YAML ({problem}); {_ADVICE}") from None
    except RecursionError:
        raise GlitchtraceError(f"{file}: nested too deep; a study has a few levels") from None
    finally:
        loader.dispose()


def key_of(path: Iterable[Key]) -> str:
    """The path to a value as it is written in messages, e.g. ``grid[0].seeds[1]``."""
    written = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return written.removeprefix(".") or "config"


def number_text(number: float) -> str:
    """A number as YAML 1.1 reads it and every type of number takes it: whole, or with a point."""
    if number.is_integer() and abs(number) < 2**53:
        return str(int(number))
    written = repr(number)
    mantissa, e, exponent = written.partition("e")
    if not e:
        return written
    exponent = exponent if exponent[0] in "+-" else f"+{exponent}"
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"


def values(content: Any, path: PathOf = ()) -> Iterator[tuple[PathOf, Any]]:
    """Every key and value below ``content`` with its path, containers before what they hold."""
    yield path, content
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from values(value, (*path, key))
    elif isinstance(content, list | tuple):
        for place, value in enumerate(content):
            yield from values(value, (*path, place))


def located(
    error: GlitchtraceError, files: Iterable[StudyFile], config: Mapping[str, Any]
) -> GlitchtraceError:
    """The error with file and line, where a value it speaks of comes from one of the files; else the error.

    The files are in the order in which they override each other, and ``config`` is what has come of them: a value
    that it does not hold as a file has it was given otherwise, e.g. by ``--config``.
    """
    path = getattr(error, "path", None) or _path_in(str(error))
    for length in range(len(path), 0, -1):
        for file in reversed(list(files)):
            line = file.lines.get(path[:length])
            if line is not None and _same(file.content, config, path[:length]):
                return GlitchtraceError(f"{file.name}:{line}: {error}")
            if line is not None and length == len(path):
                return error
    return error


def _same(content: Any, config: Any, path: PathOf) -> bool:
    """Whether a value of a file is that of the configuration; of mappings, which are merged, it is enough to be one."""
    for part in path:
        try:
            content, config = content[part], config[part]
        except (KeyError, IndexError, TypeError):
            return False
    both_mappings = isinstance(content, Mapping) and isinstance(config, Mapping)
    return both_mappings or repr(content) == repr(config)


def _path_in(message: str) -> PathOf:
    """The path that a message begins with, e.g. ``grid[0].seeds: …``."""
    key = re.match(r"([\w@.]+(?:\[\d+\])?(?:[\w@.\[\]]*)): ", message)
    if not key:
        return ()
    found = re.findall(r"\[(\d+)\]|([^.\[\]]+)", key[1])
    return tuple(int(place) if place else name for place, name in found)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise GlitchtraceError(
            f"{path} cannot be read ({error.strerror or error}); give a file of YAML"
        ) from None
    try:
        return raw.decode("utf-8").removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise GlitchtraceError(
            f"{path}:{line}: the byte 0x{raw[error.start]:02x} is no UTF-8; save the file in the encoding UTF-8"
        ) from None


def _line(text: str, number: int) -> str:
    lines = text.split("\n")
    return lines[number] if number < len(lines) else ""


def _place_of_character(file: str | Path, text: str) -> str:
    """File and line of a character that YAML does not allow."""
    place = next(
        (at for at, char in enumerate(text) if not char.isprintable() and char not in "\n\r\t"), None
    )
    return f"{file}" if place is None else f"{file}:{text.count(chr(10), 0, place) + 1}"


def _is_json(text: str) -> bool:
    """Whether Snakemake reads the file as JSON, which has numbers like 1e-2."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _built(file: str | Path, root: yaml.Node | None, *, is_json: bool) -> StudyFile:
    if not isinstance(root, yaml.MappingNode):
        at = f"{file}:{root.start_mark.line + 1}" if root else f"{file}"
        raise GlitchtraceError(
            f"{at}: holds no keys; write blocks into it as config/README.md describes them"
        )
    builder = _Builder(file, is_json)
    content = builder.build(root)
    if builder.sizes[id(root)] > _MOST_VALUES:
        raise GlitchtraceError(f"{file}: its aliases (*name) open to over {_MOST_VALUES} values; write fewer")
    lines: dict[PathOf, int] = {}
    builder.note_lines(root, (), lines)
    return StudyFile(str(file), content, lines)


class _Builder:
    """Values of YAML nodes, each node once, so that what aliases repeat is not built again."""

    def __init__(self, file: str | Path, is_json: bool) -> None:
        self.file = file
        self.is_json = is_json
        self.sizes: dict[int, int] = {}
        self._built: dict[int, Any] = {}
        self._open: set[int] = set()

    def build(self, node: yaml.Node) -> Any:
        """The value of a node; its size is noted."""
        if id(node) in self._built:
            return self._built[id(node)]
        if id(node) in self._open:
            raise self._refused(node, "an alias (*name) within its own anchor (&name); write the value out")
        self._open.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            value: Any = self._scalar(node)
        elif isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            value = [self.build(item) for item in node.value]
        elif isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            value = self._mapping(node)
        else:
            raise self._refused(node, f"the tag {_short(node.tag)} is not for a study; leave it out")
        self._open.discard(id(node))
        children = [] if isinstance(node, yaml.ScalarNode) else _children(node)
        self.sizes[id(node)] = 1 + sum(self.sizes.get(id(child), 1) for child in children)
        self._built[id(node)] = value
        return value

    def note_lines(self, node: yaml.Node, path: PathOf, lines: dict[PathOf, int]) -> None:
        """Note the line of every key and value below a node; what is merged (<<) gives way to what is written."""
        if isinstance(node, yaml.SequenceNode):
            for place, item in enumerate(node.value):
                lines[(*path, place)] = item.start_mark.line + 1
                self.note_lines(item, (*path, place), lines)
        elif isinstance(node, yaml.MappingNode):
            for key, value in sorted(node.value, key=lambda pair: pair[0].tag != f"{_TAG}merge"):
                if key.tag == f"{_TAG}merge":
                    merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
                    for other in reversed(merged):
                        self.note_lines(other, path, lines)
                else:
                    lines[(*path, key.value)] = key.start_mark.line + 1
                    self.note_lines(value, (*path, key.value), lines)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._refused(key, "a list or mapping as a key; write a name")
            if key.value in lines:
                raise self._refused(
                    key,
                    f"the key '{key.value}' is given twice (first on line {lines[key.value]}), and the first would "
                    "be lost; write both contents below one key",
                )
            lines[key.value] = key.start_mark.line + 1
            if key.tag == f"{_TAG}merge":
                others = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for other in reversed(others):
                    content = self.build(other)
                    if not isinstance(content, dict):
                        raise self._refused(other, "only a mapping can be merged by <<; write <<: *name")
                    merged.update(content)
                self._built.setdefault(id(value), None)
                continue
            if not isinstance(self._scalar(key), str):
                raise self._refused(
                    key, f"the key {key.value or 'left empty'} is no text; write '{key.value}'"
                )
            own[key.value] = self.build(value)
        return {**merged, **own}

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        written, kind = node.value, node.tag.removeprefix(_TAG)
        if node.tag not in _PLAIN_TAGS:
            raise self._refused(node, f"the tag {_short(node.tag)} is not for a study; leave it out")
        if node.style or kind in ("value", "merge"):
            return written
        if kind == "null":
            return None
        if kind == "bool":
            return written.lower() in ("yes", "true", "on")
        if kind == "timestamp":
            raise self._refused(node, f"{written} is read as a date; write '{written}' where a text is meant")
        if kind == "int":
            return self._whole(node)
        if kind == "float":
            return self._decimal(node)
        if re.fullmatch(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+", written):
            number = float(written)
            if self.is_json:
                return number
            remedy = f"write {number_text(number)}" if math.isfinite(number) else "write a number in range"
            raise self._refused(node, f"{written} is read as text, not as a number; {remedy}")
        if self.is_json and written in ("NaN", "Infinity", "-Infinity"):
            raise self._refused(node, f"{written} is no number of a study; write a finite number")
        return written

    def _whole(self, node: yaml.ScalarNode) -> int:
        written = node.value
        digits = written.lstrip("+-").replace("_", "").lower()
        if len(digits) > _MOST_DIGITS:
            raise self._refused(node, f"a number of {len(digits)} digits; write a smaller one")
        sign = -1 if written.startswith("-") else 1
        if ":" in digits:
            raise self._refused(
                node, f"{written} is read as a number to the base 60; write '{written}' or a number"
            )
        if digits.startswith(("0x", "0b")):
            return sign * int(digits, 0)
        if len(digits) > 1 and digits.startswith("0"):
            raise self._refused(
                node,
                f"{written} is read as the octal number {int(digits, 8)}; write {digits.lstrip('0') or '0'}",
            )
        return sign * int(digits)

    def _decimal(self, node: yaml.ScalarNode) -> float:
        written = node.value
        if ":" in written:
            raise self._refused(
                node, f"{written} is read as a number to the base 60; write '{written}' or a number"
            )
        text = written.replace("_", "").lower()
        special = text.lstrip("+-") in (".nan", ".inf")
        number = math.nan if special else float(text)
        if not math.isfinite(number):
            raise self._refused(node, f"{written} is no number of a study; write a finite number")
        return number

    def _refused(self, node: yaml.Node, problem: str) -> GlitchtraceError:
        return GlitchtraceError(f"{self.file}:{node.start_mark.line + 1}: {problem}")


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value)


def _short(tag: str) -> str:
    return tag.replace(_TAG, "!!")
