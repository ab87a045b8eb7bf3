"""A session with a person: the samples as they are shown, the loop, the answers so far on disk, and undo.

The file of a session holds what it was opened with and every answer.  An answer is on disk before the loop takes it,
so that nothing is lost whenever the program stops; a session that is opened again replays its answers, which gives the
same state since the loop draws from seeded generators only.  While it is open its folder is locked: two programs would
overwrite each other's answers.  The lock is the system's, and ends with its program however that ends.
"""

import fcntl
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from glitchtrace.core import files
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.data.description import read_description
from glitchtrace.papers.cincer.loop import Loop, Question
from glitchtrace.papers.cincer.stage import question_table

_PICTURE_PIXELS = 224
_SHADES = " .:-=+*#%@"


class Samples:
    """The stored rows of a source, given its ``features.npy`` with ``source.json`` beside."""

    def __init__(self, features: str | Path) -> None:
        self._stored = np.load(features, mmap_mode="r")
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
            for answer in self._stored():
                self._replay(answer)
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

    def question(self) -> Question | None:
        """The open question; None at the end of the stream.

        Raises GlitchtraceError where it cannot be found, see ``Loop.advance``; answers can then still be undone.
        """
        return self.loop.advance()

    def answer(self, number: int, labels: Mapping[int, int]) -> None:
        """Answer question ``number`` with labels of its samples; one that is not named keeps its label.

        Raises GlitchtraceError for a question that is not open any more, a label that is no class, and a fit that
        diverges; then nothing has changed.
        """
        question = self.question()
        if question is None or question.number != number:
            raise GlitchtraceError(f"answer: question {number} is not open; reload to see the one that is")
        self.loop.check_answer(labels)
        self._answers.append(
            {"example": question.example, "labels": {str(k): int(v) for k, v in labels.items()}}
        )
        self._write()
        try:
            self._take(labels)
        except GlitchtraceError:
            # The question is still open, and a file with this answer could not be replayed.
            self._answers.pop()
            self._write()
            raise
        self._write_table()

    def undo(self) -> None:
        """Take the last answer back.  Raises GlitchtraceError where there is none."""
        if not self._answers:
            raise GlitchtraceError("undo: no question has been answered")
        self._answers.pop()
        self._write()
        self.loop.restore(self._before.pop())
        self._write_table()

    def _take(self, labels: Mapping[int, int]) -> None:
        before = self.loop.snapshot()
        self.loop.answer(labels)
        self._before.append(before)

    def _replay(self, answer: Mapping[str, Any]) -> None:
        question = self.question()
        if question is None or question.example != answer["example"]:
            raise GlitchtraceError(
                f"{self._file}: answer {len(self._answers) + 1} is about another sample than the question; the code or "
                "the data have changed since, use another folder"
            )
        labels = {int(sample): label for sample, label in answer["labels"].items()}
        self.loop.check_answer(labels)
        self._answers.append(dict(answer))
        self._take(labels)

    @property
    def _file(self) -> Path:
        return self.folder / "session.json"

    def _stored(self) -> list[dict[str, Any]]:
        if not self._file.is_file():
            return []
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            identity, answers = content["identity"], content["answers"]
        except (ValueError, KeyError, TypeError):
            raise GlitchtraceError(f"{self._file}: not the file of a session; use another folder") from None
        if identity != self.identity:
            other = sorted(
                key for key in {*identity, *self.identity} if identity.get(key) != self.identity.get(key)
            )
            raise GlitchtraceError(
                f"{self._file}: a session with another {other[0]}; use its settings, or another folder"
            )
        return list(answers)

    def _write(self) -> None:
        files.write_json({"identity": self.identity, "answers": self._answers}, self._file)

    def _write_table(self) -> None:
        files.write_text(question_table(self.loop).to_csv(index=False), self.folder / "questions.csv")


def _lock(folder: Path) -> IO[str]:
    """The lock of a folder, held until it is closed.  Raises GlitchtraceError where another has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / "session.lock", "a", encoding="utf-8")  # noqa: SIM115
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
