"""A session with a person: the samples as they are shown, the loop, the answers so far on disk, and undo.

The file of a session holds what it was opened with, every answer, and a checksum of both.  An answer is on disk before
the loop takes it, so that nothing is lost whenever the program stops, and it counts only where it could be written; a
session that is opened again replays its answers, which gives the same state since the loop draws from seeded
generators only.  While it is open its folder is locked: two programs would
overwrite each other's answers.  The lock is the system's, and ends with its program however that ends.
"""

import fcntl
import io
import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import pandas as pd

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.description import read_description
from glitchtrace.papers.cincer.loop import Loop, Question
from glitchtrace.papers.cincer.stage import question_table

_log = logging.getLogger(__name__)
_PICTURE_PIXELS = 224
_SHADES = " .:-=+*#%@"


class Samples:
    """The stored rows of a source, given its ``features.npy`` with ``source.json`` beside."""

    def __init__(self, features: str | Path) -> None:
        self._stored = files.read_npy(features, memory_mapped=True)
        self._description = read_description(Path(features).parent / "source.json")
        self.classes: list[str] = list(self._description["classes"])
        self.pictures = self._description["modality"] == "image"

    def png(self, row: int) -> bytes:
        """A picture enlarged to a size that a person can judge."""
        from PIL import Image

        picture = Image.fromarray(np.asarray(self._stored[row]))
        factor = max(1, _PICTURE_PIXELS // max(picture.size))
        enlarged = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        enlarged.save(buffer, format="PNG")
        return buffer.getvalue()

    def fields(self, row: int) -> list[tuple[str, str]]:
        """Columns with their values; categories by name."""
        categories = self._description.get("categories") or {}
        found = []
        for column, value in zip(self._description["columns"], self._stored[row], strict=True):
            names = categories.get(column)
            found.append((column, names[int(value)] if names else f"{value:g}"))
        return found

    def text(self, row: int) -> list[str]:
        """A sample for the terminal: a picture in shades of characters, or a column per line."""
        if not self.pictures:
            width = max(len(column) for column, _ in self.fields(row))
            return [f"{column:<{width}}  {value}" for column, value in self.fields(row)]
        picture = np.asarray(self._stored[row], dtype=float)
        if picture.ndim == 3:
            picture = picture.mean(axis=2)
        shades = (picture / 256 * len(_SHADES)).astype(int)
        # Characters are about twice as high as wide.
        return ["".join(_SHADES[shade] * 2 for shade in line) for line in shades]


class NotStoredError(GlitchtraceError):
    """An answer that could not be written: a full disk, mostly; nothing has changed."""


class Session:
    """A loop whose answers are kept in ``folder``: session.json, and questions.csv to read.

    ``identity``: names, settings and data of the loop.  Raises GlitchtraceError where the folder holds a session of
    another identity, one whose answers do not fit the questions, or one that is open elsewhere.  To be closed, or
    used in a ``with`` statement.
    """

    def __init__(self, loop: Loop, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self.loop = loop
        self.folder = Path(folder)
        # As it comes back from the file.
        self.identity = json.loads(json.dumps(identity))
        self._answers: list[dict[str, Any]] = []
        self._before: list[dict[str, Any]] = []
        self._lock = _lock(self.folder)
        try:
            self._replay(self._stored())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another program open the session."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    @property
    def answered(self) -> int:
        """Number of answers."""
        return len(self._answers)

    @property
    def corrected(self) -> int:
        """Number of samples whose label is another than at the start."""
        return int((self.loop.state.labels != self.loop.start.labels).sum())

    def question(self) -> Question | None:
        """The open question; None at the end of the stream.

        Raises GlitchtraceError where it cannot be found, see ``Loop.advance``; answers can then still be undone.
        """
        return self.loop.advance()

    def answer(self, number: int, labels: Mapping[int, int], *, unsure: bool = False) -> None:
        """Answer question ``number`` with labels of its samples; one that is not named keeps its label.

        ``unsure``: the person does not know, and nothing is confirmed.  Raises GlitchtraceError for a question that
        is not open any more, a label that is no class, a fit that diverges, and ``NotStoredError`` for an answer that
        cannot be written; then nothing has changed.
        """
        question = self.question()
        if question is None or question.number != number:
            raise GlitchtraceError(f"answer: question {number} is not open; reload to see the one that is")
        self.loop.check_answer(labels)
        answer = {
            "example": question.example,
            "labels": {str(sample): int(label) for sample, label in labels.items()},
            "unsure": unsure,
        }
        before = self.loop.snapshot()
        self._write([*self._answers, answer])
        try:
            self.loop.answer(labels, unsure=unsure)
        except GlitchtraceError:
            # The question is still open.  If this cannot be written either, the next start drops the answer.
            with suppress(NotStoredError):
                self._write(self._answers)
            raise
        self._answers.append(answer)
        self._before.append(before)
        self._write_table()

    def undo(self) -> None:
        """Take the last answer back.  Raises GlitchtraceError where there is none, or the file cannot be written."""
        if not self._answers:
            raise GlitchtraceError("undo: no question has been answered")
        self._write(self._answers[:-1])
        self._answers.pop()
        self.loop.restore(self._before.pop())
        self._write_table()

    def questions(self) -> pd.DataFrame:
        """The questions so far as ``question_table`` has them, and whether the person was ``unsure``."""
        return question_table(self.loop).assign(unsure=[answer["unsure"] for answer in self._answers])

    def labels(self, classes: Sequence[str]) -> pd.DataFrame:
        """All training samples by row of their source: the label at the start, the label now, and what was asked.

        ``state``: corrected, confirmed, unsure, or empty where it was not asked about.
        """
        rows, names = self.loop.problem.rows, np.asarray(classes, dtype=object)
        before, after = self.loop.start.labels, self.loop.state.labels
        state = np.full(len(rows), "", dtype=object)
        for asked, answer in zip(self.loop.state.questions, self._answers, strict=True):
            shown = [asked["example"]] + [asked["counter_example"]] * (asked["counter_given"] >= 0)
            state[shown] = "unsure" if answer["unsure"] else "confirmed"
        state[before != after] = "corrected"
        table = pd.DataFrame({"row": rows, "before": names[before], "label": names[after], "state": state})
        return table.sort_values("row", ignore_index=True)

    def export(self, classes: Sequence[str]) -> Path:
        """Write ``labels`` to labels.csv in the folder, and return its path."""
        target = self.folder / "labels.csv"
        try:
            files.write_text(self.labels(classes).to_csv(index=False), target)
        except OSError as error:
            raise NotStoredError(f"{target} cannot be written ({error.strerror}); make room there") from None
        return target

    def _replay(self, stored: list[dict[str, Any]]) -> None:
        for place, answer in enumerate(stored):
            question = self.question()
            if question is None or question.example != answer["example"]:
                raise GlitchtraceError(
                    f"{self._file}: answer {place + 1} is about another sample than the question; the code has changed "
                    "since, use another folder"
                )
            labels = {int(sample): label for sample, label in answer["labels"].items()}
            self.loop.check_answer(labels)
            before = self.loop.snapshot()
            try:
                self.loop.answer(labels, unsure=answer["unsure"])
            except GlitchtraceError as error:
                if place < len(stored) - 1:
                    raise
                # The program ended before it could take back an answer that could not be taken.
                _log.warning("%s: the last answer is left out (%s)", self._file, error)
                break
            self._answers.append(answer)
            self._before.append(before)
        if stored:
            self._write_table()

    @property
    def _file(self) -> Path:
        return self.folder / "session.json"

    def _stored(self) -> list[dict[str, Any]]:
        """The answers on disk, checked.  Raises GlitchtraceError for another session and for an altered file."""
        if not self._file.exists():
            return []
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            identity, answers, written = content["identity"], content["answers"], content["crc32"]
            whole = written == _checksum({"identity": identity, "answers": answers})
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise GlitchtraceError(f"{self._file}: not the file of a session; use another folder") from None
        if not (
            whole
            and isinstance(identity, dict)
            and isinstance(answers, list)
            and all(map(_is_answer, answers))
        ):
            raise GlitchtraceError(
                f"{self._file} has been altered, its checksum does not fit its content; bring a copy back, or use "
                "another folder"
            )
        if identity != self.identity:
            other = min(
                key for key in {*identity, *self.identity} if identity.get(key) != self.identity.get(key)
            )
            raise GlitchtraceError(
                f"{self._file}: a session with another {other}; use its {'files' if other == 'data' else 'settings'}, "
                "or another folder"
            )
        return answers

    def _write(self, answers: list[dict[str, Any]]) -> None:
        content: dict[str, Any] = {"identity": self.identity, "answers": answers}
        try:
            files.write_json({**content, "crc32": _checksum(content)}, self._file)
        except OSError as error:
            raise NotStoredError(
                f"{self._file} cannot be written ({error.strerror or error}), so nothing has changed; make room there "
                "and answer again"
            ) from None

    def _write_table(self) -> None:
        """What can be read of the answers; they are safe where it cannot be written, and the next answer does."""
        target = self.folder / "questions.csv"
        try:
            files.write_text(self.questions().to_csv(index=False), target)
        except OSError as error:
            _log.warning("%s cannot be written (%s); session.json has every answer", target, error.strerror)


def _is_answer(answer: Any) -> bool:
    """Whether a value has the form of an answer."""
    return (
        isinstance(answer, dict)
        and answer.keys() == {"example", "labels", "unsure"}
        and isinstance(answer["example"], int)
        and isinstance(answer["unsure"], bool)
        and isinstance(answer["labels"], dict)
        and all(sample.isdecimal() and type(label) is int for sample, label in answer["labels"].items())
    )


def _checksum(content: Mapping[str, Any]) -> str:
    """CRC-32 of what a session's file holds, in hexadecimal."""
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def _lock(folder: Path) -> IO[str]:
    """The lock of a folder, held until it is closed.  Raises GlitchtraceError where another has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "session.lock", "a", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise GlitchtraceError(
            f"{folder}: no session can be kept there ({error.strerror}); use a folder that can be written"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        if isinstance(error, BlockingIOError):
            raise GlitchtraceError(
                f"{folder}: the session is open in another program; stop that, or use another folder"
            ) from None
        raise GlitchtraceError(
            f"{folder}: its file system cannot lock files ({error.strerror}); use a folder on another"
        ) from None
    return lock
