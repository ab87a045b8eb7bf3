"""The annotator in the terminal."""

from collections.abc import Callable
from itertools import zip_longest

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.loop import Question
from glitchtrace.papers.cincer.person.session import Samples, Session

HELP = (
    "enter: both labels are right; s CLASS: relabel the suspicious sample; c CLASS: relabel the counter-example; "
    "b CLASS CLASS: relabel both; ?: I don't know; u: undo; e: write the labels to labels.csv; q: stop (run the same "
    "command to go on); CLASS is a name or a number"
)
HELP_AT_END = "u: undo the last answer; e: write the labels to labels.csv; q: stop"


def annotate_in_terminal(
    session: Session,
    samples: Samples,
    *,
    read: Callable[[str], str],
    write: Callable[[str], None],
) -> None:
    """Ask until the person stops; classes are named or numbered.

    What cannot be understood is said in one line, and the question is asked again.  At the end of the stream, and
    where the next question cannot be found, answers can still be undone.  Raises GlitchtraceError where it cannot
    be found and there is no answer to undo.
    """
    write(HELP)
    write(f"classes: {_numbered(samples.classes)}")
    while True:
        question, lines = _next(session, samples)
        for line in lines:
            write(line)
        if question is None and not session.answered:
            return
        try:
            words = read("> ").split()
            if words == ["q"]:
                return
            if words == ["u"]:
                session.undo()
            elif words == ["e"]:
                write(f"written: {session.export(samples.classes)}")
            elif question is None:
                raise GlitchtraceError(f"answer: '{' '.join(words)}' is not understood")
            elif words == ["?"]:
                session.answer(question.number, {}, unsure=True)
            else:
                session.answer(question.number, _labels(words, question, samples.classes))
        except EOFError:
            return
        except GlitchtraceError as error:
            write(str(error))


def _next(session: Session, samples: Samples) -> tuple[Question | None, list[str]]:
    """The open question and what is shown of it; None and the reason where there is none."""
    try:
        question = session.question()
    except GlitchtraceError as error:
        if not session.answered:
            raise
        return None, [str(error), HELP_AT_END]
    if question is not None:
        return question, _show(session, samples, question)
    ended = f"No more samples; {session.answered} questions answered."
    return None, [ended, HELP_AT_END] if session.answered else [ended]


def _labels(words: list[str], question: Question, classes: list[str]) -> dict[int, int]:
    """The labels that a line means."""
    if not words:
        return {}
    pool = question.pool
    wanted = {"s": pool[:1], "c": pool[1:2], "b": pool if len(pool) == 2 else ()}.get(words[0], ())
    if len(words) < 1 + len(wanted) or not wanted:
        raise GlitchtraceError(f"answer: '{' '.join(words)}' is not understood; {HELP}")
    return dict(zip(wanted, _classes(words[1:], len(wanted), classes), strict=True))


def _classes(words: list[str], count: int, classes: list[str]) -> list[int]:
    """The one or two classes that the words name; a name may have several words."""
    readings = [[words]] if count == 1 else [[words[:cut], words[cut:]] for cut in range(1, len(words))]
    found = []
    for reading in readings:
        labels = [label for name in reading if (label := _class(" ".join(name), classes)) is not None]
        if len(labels) == count:
            found.append(labels)
    if len(found) == 1:
        return found[0]
    problem = (
        "can be read in several ways" if found else f"is no {'class' if count == 1 else 'pair of classes'}"
    )
    raise GlitchtraceError(f"answer: '{' '.join(words)}' {problem}; known: {_numbered(classes)}")


def _class(name: str, classes: list[str]) -> int | None:
    """A class by name, or by number where no class has that name; None where there is none."""
    names = [" ".join(known.split()) for known in classes]
    if name in names:
        return names.index(name)
    return int(name) if name.isdecimal() and int(name) < len(classes) else None


def _numbered(classes: list[str]) -> str:
    return ", ".join(f"{number} {name}" for number, name in enumerate(classes))


def _show(session: Session, samples: Samples, question: Question) -> list[str]:
    classes, rows = samples.classes, session.loop.problem.rows
    quality, stream = session.loop.state.rows[-1]["f1"], session.loop.start.stream
    lines = [
        "",
        f"Question {question.number}, sample {question.iteration} of {len(stream)}; "
        f"{session.corrected} labels corrected; F1 on test {quality:.3f}",
        f"suspicious: labelled {classes[question.annotated]}, the model says {classes[question.predicted]}",
    ]
    left = samples.text(int(rows[question.example]))
    if question.counter_example is None:
        return [*lines, *left]
    assert question.counter_annotated is not None
    lines.append(f"counter-example (on the right): labelled {classes[question.counter_annotated]}")
    right = samples.text(int(rows[question.counter_example]))
    width = max(map(len, left)) + 4
    return [*lines, *(f"{a:<{width}}{b}" for a, b in zip_longest(left, right, fillvalue=""))]
