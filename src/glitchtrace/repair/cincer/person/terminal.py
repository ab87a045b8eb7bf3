"""The annotator in the terminal."""

from collections.abc import Callable
from itertools import zip_longest

from glitchtrace.errors import GlitchtraceError
from glitchtrace.repair.cincer.loop import Question
from glitchtrace.repair.cincer.person.samples import Samples
from glitchtrace.repair.cincer.person.session import Session

HELP = (
    "enter: both labels are right; s CLASS: relabel the suspicious sample; c CLASS: relabel the counter-example; "
    "b CLASS CLASS: relabel both; u: undo; q: stop (run the same command to go on)"
)


def annotate_in_terminal(
    session: Session,
    samples: Samples,
    *,
    read: Callable[[str], str],
    write: Callable[[str], None],
) -> None:
    """Ask until the stream ends or the person stops; classes are named or numbered.

    What cannot be understood is said in one line, and the question is asked again.
    """
    write(HELP)
    while (question := session.question()) is not None:
        for line in _show(session, samples, question):
            write(line)
        try:
            words = read("> ").split()
            if words == ["q"]:
                return
            if words == ["u"]:
                session.undo()
                continue
            session.answer(question.number, _labels(words, question, samples.classes))
        except EOFError:
            return
        except GlitchtraceError as error:
            write(str(error))
    write(f"No more samples; {session.answered} questions answered.")


def _labels(words: list[str], question: Question, classes: list[str]) -> dict[int, int]:
    """The labels that a line means."""
    if not words:
        return {}
    pool = question.pool
    wanted = {"s": pool[:1], "c": pool[1:2], "b": pool[:2]}.get(words[0], ())
    if not wanted or len(words) != 1 + len(wanted) or (words[0] == "b" and len(pool) < 2):
        raise GlitchtraceError(f"answer: '{' '.join(words)}' is not understood; {HELP}")
    return {sample: _class(word, classes) for sample, word in zip(wanted, words[1:], strict=True)}


def _class(word: str, classes: list[str]) -> int:
    """A class by name, or by number where no class has that name."""
    if word in classes:
        return classes.index(word)
    if word.isdecimal() and int(word) < len(classes):
        return int(word)
    known = ", ".join(f"{number} {name}" for number, name in enumerate(classes))
    raise GlitchtraceError(f"answer: '{word}' is no class; known: {known}")


def _show(session: Session, samples: Samples, question: Question) -> list[str]:
    classes, rows = samples.classes, session.loop.problem.rows
    quality, stream = session.loop.state.rows[-1]["f1"], session.loop.start.stream
    lines = [
        "",
        f"Question {question.number}, sample {question.iteration} of {len(stream)}; F1 on test {quality:.3f}",
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
