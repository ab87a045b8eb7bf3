"""A person in the loop: sessions, the terminal, and the page in a real browser."""

import contextlib
import errno
import http.client
import io
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_iris

from glitchtrace.core import registry
from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.core.files import write_json, write_npy
from glitchtrace.papers.cincer.loop import Loop
from glitchtrace.papers.cincer.person import __main__ as program
from glitchtrace.papers.cincer.person import own_data
from glitchtrace.papers.cincer.person import page as page_module
from glitchtrace.papers.cincer.person import session as session_module
from glitchtrace.papers.cincer.person.page import PageServer
from glitchtrace.papers.cincer.person.session import Samples, Session
from glitchtrace.papers.cincer.person.terminal import annotate_in_terminal
from glitchtrace.papers.cincer.problem import load_problem
from glitchtrace.papers.cincer.query import Negotiator, Query, Ranking
from glitchtrace.papers.cincer.settings import LoopSettings
from glitchtrace.papers.cincer.stage import AskingRepeat, PerfectAnnotator, open_loop, run

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
INTERACTIVE = {
    key: value["default"] for key, value in registry.card("loop", "interactive")["settings"].items()
}


def write_source(folder: Path, *, pictures: bool) -> Path:
    data = load_digits() if pictures else load_iris()
    stored = (data.images * 15).astype(np.uint8) if pictures else data.data.astype(np.float32)
    write_npy(stored, folder / "features.npy")
    write_npy(data.target.astype(np.int64), folder / "labels.npy")
    names = [str(name) for name in data.target_names]
    description = {"classes": names, "parts": {"all": [0, len(stored)]}}
    if pictures:
        description |= {"modality": "image", "columns": None}
    else:
        description |= {"modality": "table", "columns": list(data.feature_names)}
    write_json(description, folder / "source.json")
    return folder / "features.npy"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("iris"), pictures=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("digits"), pictures=True)


def make_loop(features: Path, negotiator: str = "nearest") -> Loop:
    repeat = AskingRepeat(
        model="logreg",
        model_settings={"head_seed": 42},
        protocol=LoopSettings(**{**INTERACTIVE, "known": 30, "iterations": 25, "learning_rate": 0.05}),
        noise="random",
        ratio="0.2",
        inspector="never",
        inspector_settings={},
        threshold=0.0,
        negotiator=negotiator,
        negotiator_settings={},
        seed=1,
        repeat=0,
    )
    return open_loop(load_problem(features), repeat)


def make_failing_loop(features: Path, questions: int) -> Loop:
    """A loop whose curvature cannot be inverted any more once that many questions have been asked."""
    loop = make_loop(features)
    found = loop.negotiator.rank
    assert found is not None

    def rank(query: Query, rng: np.random.RandomState) -> Ranking:
        if loop.state.counts["n_queried"] >= questions:
            raise GlitchtraceError("LiSSA diverged; raise the damping")
        return found(query, rng)

    loop.negotiator = Negotiator(rank)
    return loop


OPENED: list[Session] = []


@pytest.fixture(autouse=True)
def _sessions_end_with_their_test() -> Iterator[None]:
    yield
    close_sessions()


def close_sessions() -> None:
    while OPENED:
        OPENED.pop().close()


def open_session(loop: Loop, folder: Path, **identity: object) -> Session:
    """A session on the folder after the program of the one before has ended."""
    close_sessions()
    session = Session(loop, folder, identity)
    OPENED.append(session)
    return session


def open_again(features: Path, folder: Path, **identity: object) -> Session:
    return open_session(make_loop(features), folder, dataset="iris", **identity)


# --- sessions ---------------------------------------------------------------------------------------------------


def test_a_person_who_knows_all_is_the_simulated_annotator(table: Path, tmp_path: Path) -> None:
    session = open_again(table, tmp_path)
    perfect = PerfectAnnotator(session.loop.problem.truth)
    while (question := session.question()) is not None:
        session.answer(question.number, perfect.labels(question))
    loop = make_loop(table)
    run(loop, perfect)
    pd.testing.assert_frame_equal(pd.DataFrame(loop.state.rows), pd.DataFrame(session.loop.state.rows))
    assert len(pd.read_csv(tmp_path / "questions.csv")) == session.answered > 2


def test_a_stopped_session_goes_on_where_it_was(table: Path, tmp_path: Path) -> None:
    session = open_again(table, tmp_path)
    for label in (0, 1):
        question = session.question()
        assert question is not None
        session.answer(question.number, {question.example: label})
    waiting = session.question()
    again = open_again(table, tmp_path)
    assert again.answered == 2
    assert again.question() == waiting
    np.testing.assert_array_equal(again.loop.state.labels, session.loop.state.labels)
    pd.testing.assert_frame_equal(pd.DataFrame(again.loop.state.rows), pd.DataFrame(session.loop.state.rows))


def test_an_answer_on_disk_counts_though_the_program_died_before_it_was_taken(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_again(table, tmp_path)
    question = session.question()
    assert question is not None
    monkeypatch.setattr(
        session.loop, "answer", lambda labels, unsure: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        session.answer(question.number, {question.example: 2})
    again = open_again(table, tmp_path)
    assert again.answered == 1
    assert again.loop.state.labels[question.example] == 2


def test_undo_comes_back_to_the_question_also_after_a_stop(table: Path, tmp_path: Path) -> None:
    session = open_again(table, tmp_path)
    with pytest.raises(GlitchtraceError, match="no question has been answered"):
        session.undo()
    first = session.question()
    assert first is not None
    before = session.loop.state.labels.copy()
    session.answer(first.number, {first.example: 1})
    second = session.question()
    again = open_again(table, tmp_path)
    again.undo()
    assert again.question() == first
    np.testing.assert_array_equal(again.loop.state.labels, before)
    again.answer(first.number, {first.example: 1})
    assert again.question() == second


def test_a_closed_question_and_a_class_that_is_none_are_refused(table: Path, tmp_path: Path) -> None:
    session = open_again(table, tmp_path)
    question = session.question()
    assert question is not None
    with pytest.raises(GlitchtraceError, match="7 is no class"):
        session.answer(question.number, {question.example: 7})
    assert not (tmp_path / "session.json").exists()
    session.answer(question.number, {})
    with pytest.raises(GlitchtraceError, match=f"question {question.number} is not open"):
        session.answer(question.number, {})
    assert session.answered == 1


def test_an_answer_whose_fit_diverges_is_not_kept(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_again(table, tmp_path)
    first = session.question()
    assert first is not None
    session.answer(first.number, {})
    second = session.question()
    assert second is not None
    with monkeypatch.context() as patch:
        patch.setattr(
            session.loop.classifier,
            "fit",
            lambda *arguments: (_ for _ in ()).throw(GlitchtraceError("diverged")),
        )
        with pytest.raises(GlitchtraceError, match="diverged"):
            session.answer(second.number, {second.example: 2})
    assert session.answered == 1
    assert session.question() == second
    again = open_again(table, tmp_path)
    assert again.answered == 1
    session.answer(second.number, {second.example: 0})
    session.undo()
    session.undo()
    assert session.question() == first


def test_the_table_of_questions_forgets_what_is_undone(table: Path, tmp_path: Path) -> None:
    session = open_again(table, tmp_path)
    for _ in range(2):
        question = session.question()
        assert question is not None
        session.answer(question.number, {})
    session.undo()
    assert len(pd.read_csv(tmp_path / "questions.csv")) == 1


def test_a_curvature_that_fails_loses_nothing(table: Path, tmp_path: Path) -> None:
    session = open_session(make_failing_loop(table, 2), tmp_path)
    asked = []
    for label in (0, 1):
        question = session.question()
        assert question is not None
        asked.append(question)
        session.answer(question.number, {question.example: label})
    for _ in range(2):
        with pytest.raises(GlitchtraceError, match="raise the damping"):
            session.question()
    # The folder goes on from there, and so does undo.
    again = open_session(make_failing_loop(table, 2), tmp_path)
    assert again.answered == 2
    with pytest.raises(GlitchtraceError, match="raise the damping"):
        again.question()
    again.undo()
    assert again.question() == asked[1]
    # Once it can be inverted, no sample has been skipped and no question counted that was not shown.
    whole = open_session(make_loop(table), tmp_path / "whole")
    for label in (0, 1):
        question = whole.question()
        assert question is not None
        whole.answer(question.number, {question.example: label})
    session.loop.negotiator = whole.loop.negotiator
    assert session.question() == whole.question()
    assert session.loop.state.known == whole.loop.state.known
    pd.testing.assert_frame_equal(pd.DataFrame(session.loop.state.rows), pd.DataFrame(whole.loop.state.rows))


def test_another_or_a_broken_session_is_refused(table: Path, tmp_path: Path) -> None:
    session = open_again(table, tmp_path, seed=1)
    question = session.question()
    assert question is not None
    session.answer(question.number, {})
    with pytest.raises(GlitchtraceError, match="a session with another seed"):
        open_again(table, tmp_path, seed=2)
    content = json.loads((tmp_path / "session.json").read_text())
    content["answers"][0]["example"] += 1
    write_json(content, tmp_path / "session.json")
    with pytest.raises(GlitchtraceError, match=r"session.json has been altered"):
        open_again(table, tmp_path, seed=1)
    content["crc32"] = session_module._checksum({key: content[key] for key in ("identity", "answers")})
    write_json(content, tmp_path / "session.json")
    with pytest.raises(GlitchtraceError, match="answer 1 is about another sample"):
        open_again(table, tmp_path, seed=1)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"identity": 1, "answers": 2, "crc32": 3}'],
)
def test_a_malformed_session_is_one_line(content: bytes, table: Path, tmp_path: Path) -> None:
    (tmp_path / "session.json").write_bytes(content)
    with pytest.raises(GlitchtraceError, match="another folder") as caught:
        open_again(table, tmp_path, seed=1)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_one_line(table: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(GlitchtraceError, match=r"no session can be kept there.*use a folder that can"):
            open_again(table, folder)


@pytest.mark.parametrize(
    "answers",
    [
        {},
        [1],
        [{"example": 1, "labels": {}}],
        [{"example": 1, "labels": {"1": 1.0}, "unsure": False}],
        [{"example": 1, "labels": {"a": 1}, "unsure": False}],
        [{"example": "1", "labels": {}, "unsure": False}],
        [{"example": 1, "labels": [], "unsure": False}],
    ],
)
def test_answers_of_another_form_are_one_line(answers: object, table: Path, tmp_path: Path) -> None:
    content = {"identity": {"dataset": "iris"}, "answers": answers}
    write_json({**content, "crc32": session_module._checksum(content)}, tmp_path / "session.json")
    with pytest.raises(GlitchtraceError, match="has been altered"):
        open_again(table, tmp_path)


def test_no_flipped_bit_of_a_session_is_accepted_with_another_meaning(table: Path, tmp_path: Path) -> None:
    session = open_again(table, tmp_path, seed=1)
    for label in (0, 1):
        question = session.question()
        assert question is not None
        session.answer(question.number, {question.example: label})
    whole = (tmp_path / "session.json").read_bytes()
    stored = session._stored()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        altered = bytearray(whole)
        altered[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        (tmp_path / "session.json").write_bytes(altered)
        try:
            found = session._stored()
        except GlitchtraceError:
            refused += 1
        else:
            assert found == stored
    assert refused > 200


# --- full disks -------------------------------------------------------------------------------------------------


def fill_disk(monkeypatch: pytest.MonkeyPatch, *suffixes: str) -> None:
    """Let no file of these suffixes be written any more."""
    written = session_module.files.replacing

    @contextlib.contextmanager
    def replacing(target: Path) -> Iterator[Path]:
        if Path(target).suffix in suffixes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with written(target) as temporary:
            yield temporary

    monkeypatch.setattr(session_module.files, "replacing", replacing)


def test_a_full_disk_changes_nothing_and_the_session_opens_again(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_again(table, tmp_path)
    first = session.question()
    assert first is not None
    session.answer(first.number, {first.example: 1})
    second, kept = session.question(), (tmp_path / "session.json").read_bytes()
    assert second is not None
    labels = session.loop.state.labels.copy()
    with monkeypatch.context() as full:
        fill_disk(full, ".json", ".csv")
        for act in (lambda: session.answer(second.number, {second.example: 2}), session.undo):
            with pytest.raises(
                GlitchtraceError, match=r"No space left on device.*nothing has changed"
            ) as caught:
                act()
            assert "\n" not in str(caught.value)
        with pytest.raises(GlitchtraceError, match=r"labels.csv cannot be written"):
            session.export(list("abc"))
    assert (tmp_path / "session.json").read_bytes() == kept
    assert session.answered == 1
    assert session.question() == second
    np.testing.assert_array_equal(session.loop.state.labels, labels)
    # As if it had never been full.
    session.answer(second.number, {second.example: 2})
    again = open_again(table, tmp_path)
    assert again.answered == 2
    assert again.question() == session.question()
    again.undo()
    assert again.question() == second


def test_a_table_that_cannot_be_written_costs_no_answer(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = open_again(table, tmp_path)
    with monkeypatch.context() as full:
        fill_disk(full, ".csv")
        question = session.question()
        assert question is not None
        session.answer(question.number, {})
    assert "questions.csv cannot be written (No space left on device)" in caplog.text
    assert open_again(table, tmp_path).answered == 1
    assert len(pd.read_csv(tmp_path / "questions.csv")) == 1


def test_an_answer_that_could_neither_be_taken_nor_taken_back_is_left_out(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = open_again(table, tmp_path)
    question = session.question()
    assert question is not None

    def diverge(*arguments: object, **named: object) -> None:
        fill_disk(monkeypatch, ".json")
        raise GlitchtraceError("diverged")

    with monkeypatch.context() as patch:
        patch.setattr(session.loop, "answer", diverge)
        with pytest.raises(GlitchtraceError, match="diverged"):
            session.answer(question.number, {question.example: 2})
    monkeypatch.undo()
    assert session.answered == 0
    loop = make_loop(table)
    monkeypatch.setattr(loop, "answer", diverge)
    again = open_session(loop, tmp_path, dataset="iris")
    assert "the last answer is left out (diverged)" in caplog.text
    assert again.answered == 0
    assert again.question() == question


def test_the_page_tells_of_a_full_disk(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for server in serve(open_session(make_loop(pictures), tmp_path), pictures):
        before = ask(server, "GET", "/state")
        with monkeypatch.context() as full:
            fill_disk(full, ".json")
            status, body = ask(server, "POST", "/answer", {"number": 1, "labels": {}})
            assert status == 507
            assert "No space left on device" in json.loads(body)["error"]
        assert ask(server, "GET", "/state") == before
        assert ask(server, "POST", "/answer", {"number": 1, "labels": {}})[0] == 200


# --- data -------------------------------------------------------------------------------------------------------


def spoil(folder: Path, fault: str) -> None:
    """One fault in the files of a source."""
    labels, features = np.load(folder / "labels.npy"), np.load(folder / "features.npy")
    if fault == "class":
        labels[3] = 3
    elif fault == "type":
        labels = labels.astype(float)
    elif fault == "length":
        labels = labels[:-1]
    elif fault == "value":
        features[5, 2] = np.nan
    elif fault == "parts":
        description = json.loads((folder / "source.json").read_text())
        write_json(description | {"parts": {"all": [0, 151]}}, folder / "source.json")
    elif fault == "keys":
        description = json.loads((folder / "source.json").read_text())
        del description["parts"]
        write_json(description, folder / "source.json")
    np.save(folder / "labels.npy", labels)
    np.save(folder / "features.npy", features)
    if fault == "truncated":
        content = (folder / "features.npy").read_bytes()
        (folder / "features.npy").write_bytes(content[:-8])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("class", "labels.npy: row 3 is 3; with 3 classes a label is 0 to 2"),
        ("keys", "source.json: there is no parts"),
        ("type", "labels.npy has type float64"),
        ("length", "labels.npy has 149 rows for 150 samples"),
        ("value", "features.npy, row 5: a value is not finite"),
        ("parts", "part all is rows 0 to 151 of 150"),
        ("truncated", "features.npy cannot be read as npy"),
    ],
)
def test_arrays_that_are_not_whole_are_one_line(fault: str, message: str, tmp_path: Path) -> None:
    features = write_source(tmp_path, pictures=False)
    load_problem(features)
    spoil(tmp_path, fault)
    with pytest.raises(GlitchtraceError, match=message) as caught:
        load_problem(features)
    assert "\n" not in str(caught.value)


def test_a_session_is_one_of_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    results = tmp_path / "r"
    options = ["--dataset", "iris", "--model", "logreg", "--ratio", "0.2", "--results", str(results)]
    study = ["--configfile", "config/studies/cincer_smoke.yaml", "--loop", "interactive@smoke"]
    said = iter(["", "q", "q"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(said))
    command = [*options, *study, "--folder", str(tmp_path / "mine")]
    assert program.main(command) == 0
    labels = next(results.rglob("labels.npy"))
    kept = labels.read_bytes()
    flipped = np.load(labels)
    flipped[:40] = (flipped[:40] + 1) % 3
    np.save(labels, flipped)
    assert program.main(command) == 1
    assert "a session with another data" in capsys.readouterr().err
    labels.write_bytes(kept)
    assert program.main(command) == 0


def test_a_session_is_open_once(table: Path, tmp_path: Path) -> None:
    session = open_again(table, tmp_path, seed=1)
    question = session.question()
    assert question is not None
    session.answer(question.number, {})
    with pytest.raises(
        GlitchtraceError, match="open in another program; stop that, or use another"
    ) as caught:
        Session(make_loop(table), tmp_path, session.identity)
    assert "\n" not in str(caught.value)
    close_sessions()
    # A folder that is refused for another reason is not left locked, though the error is still at hand.
    with pytest.raises(GlitchtraceError, match="another seed") as caught:
        Session(make_loop(table), tmp_path, {**session.identity, "seed": 2})
    with Session(make_loop(table), tmp_path, session.identity) as again:
        assert again.answered == 1
    with Session(make_loop(table), tmp_path, session.identity) as again:
        assert again.answered == 1
    assert caught.value


def test_the_lock_of_a_killed_program_ends_with_it(table: Path, tmp_path: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path; from glitchtrace.papers.cincer.person import session; "
        "lock = session._lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(GlitchtraceError, match="open in another program"):
                open_again(table, tmp_path)
        finally:
            other.kill()
    assert open_again(table, tmp_path).answered == 0


# --- the terminal -----------------------------------------------------------------------------------------------


def talk(session: Session, features: Path, *words: str) -> str:
    """What the terminal says to the given lines."""
    said: list[str] = []
    lines = iter(words)

    def read(prompt: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    annotate_in_terminal(session, Samples(features), read=read, write=said.append)
    return "\n".join(said)


def test_the_terminal_relabels_keeps_and_undoes(table: Path, tmp_path: Path) -> None:
    session = open_again(table, tmp_path)
    first = session.question()
    assert first is not None
    said = talk(session, table, "s versicolor", "u", "b 2 setosa", "", "s 9", "x", "c", "q")
    assert "petal length (cm)" in said
    assert "suspicious: labelled" in said
    assert "counter-example (on the right): labelled" in said
    assert "'9' is no class; known: 0 setosa, 1 versicolor, 2 virginica" in said
    assert said.count("is not understood") == 2
    assert session.answered == 2
    assert session.loop.state.labels[list(first.pool)].tolist() == [2, 0]


def test_the_terminal_draws_pictures_and_ends_with_the_stream(pictures: Path, tmp_path: Path) -> None:
    session = open_session(make_loop(pictures, negotiator="no_ce"), tmp_path)
    question = session.question()
    assert question is not None
    said = talk(session, pictures, "b 1 2", *[""] * 60)
    assert "is not understood" in said
    assert "@@" in said
    assert "No more samples" in said


def test_the_last_answer_can_be_undone_at_the_end(pictures: Path, tmp_path: Path) -> None:
    session = open_session(make_loop(pictures), tmp_path)
    questions = 0
    while (question := session.question()) is not None:
        questions = question.number
        session.answer(question.number, {})
    assert session.answered == questions > 0
    said = talk(session, pictures, "", "u", "s 3", "q", "u")
    assert said.count(f"No more samples; {questions} questions answered.") == 3
    assert said.count("u: undo the last answer; e: write the labels to labels.csv; q: stop") == 3
    assert f"Question {questions}," in said
    assert session.question() is None
    assert session.answered == questions
    assert session.loop.state.questions[-1]["given"] == 3


def test_the_terminal_can_undo_what_led_to_a_curvature_that_fails(table: Path, tmp_path: Path) -> None:
    session = open_session(make_failing_loop(table, 1), tmp_path / "some")
    said = talk(session, table, "", "u", "q")
    assert said.count("LiSSA diverged; raise the damping\nu: undo the last answer; e: write") == 1
    assert said.count("Question 1,") == 2
    assert session.answered == 0
    with pytest.raises(GlitchtraceError, match="raise the damping"):
        talk(open_session(make_failing_loop(table, 0), tmp_path / "none"), table, "u")


def test_a_class_may_have_several_words(pictures: Path, tmp_path: Path) -> None:
    session = open_session(make_loop(pictures), tmp_path)
    samples = Samples(pictures)
    samples.classes = ["bag", "ankle boot", "boot", "ankle", "boot  bag", *"fghij"]
    first = session.question()
    assert first is not None
    said: list[str] = []
    lines = iter(
        ["s ankle  boot", "u", "b ankle boot bag", "b ankle boot ankle boot", "b bag 7", "c boot bag", "q"]
    )
    annotate_in_terminal(session, samples, read=lambda _: next(lines), write=said.append)
    assert (
        said.count("classes: 0 bag, 1 ankle boot, 2 boot, 3 ankle, 4 boot  bag, 5 f, 6 g, 7 h, 8 i, 9 j") == 1
    )
    # (ankle boot, bag), or (ankle, boot bag)?
    assert "'ankle boot bag' can be read in several ways" in "\n".join(said)
    given = [(q["given"], q["counter_given"]) for q in session.loop.state.questions]
    assert given[:2] == [(1, 1), (0, 7)]
    assert given[2][1] == 4


@pytest.mark.parametrize("mode", ["terminal", "page"])
def test_an_interrupt_ends_with_one_line(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("builtins.input", interrupt)
    monkeypatch.setattr(PageServer, "serve_forever", interrupt)
    folder = str(tmp_path / "mine")
    options = ["--dataset", "iris", "--model", "logreg", "--ratio", "0.2", "--results", str(tmp_path / "r")]
    study = ["--configfile", "config/studies/cincer_smoke.yaml", "--loop", "interactive@smoke"]
    pages = ["--page"] if mode == "page" else []
    assert program.main([*options, *study, *pages, "--folder", folder]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == (
        f"stopped; every answer is in {folder}, nothing is lost: the same command goes on"
    )
    assert err == ""


def test_the_program_opens_a_session_from_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("builtins.input", lambda prompt: "q")
    options = ["--dataset", "iris", "--model", "logreg", "--ratio", "0.2", "--results", str(tmp_path / "r")]
    study = ["--configfile", "config/studies/cincer_smoke.yaml", "--loop", "interactive@smoke"]
    assert program.main([*options, *study, "--folder", str(tmp_path / "mine")]) == 0
    assert "relabel the suspicious sample" in capsys.readouterr().out
    assert program.main([*options, "--folder", str(tmp_path), "--threshold", "7"]) == 1
    assert capsys.readouterr().err.startswith("error: cincer[0]: the threshold of inspector margin")


# --- data of one's own ------------------------------------------------------------------------------------------


def write_own(folder: Path, rows: int = 90) -> Path:
    """A CSV of two classes with numbers, categories, missing cells and a column of dates."""
    rng = np.random.default_rng(0)
    good = rng.integers(0, 2, rows)
    table = pd.DataFrame(
        {
            "weight": np.where(rng.random(rows) < 0.1, np.nan, np.round(good + rng.normal(0, 0.3, rows), 3)),
            "colour": np.where(
                rng.random(rows) < 0.1, "", np.where(good, "red", rng.choice(["blue", "grey"], rows))
            ),
            "day": pd.date_range("2024-01-01", periods=rows).strftime("%Y-%m-%d"),
            "verdict": np.where(good ^ (rng.random(rows) < 0.2), "good", "bad"),
        }
    )
    table.to_csv(folder / "own.csv", index=False)
    return folder / "own.csv"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command for a session with a file of one's own, without its ``--data``."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv(registry.ENVIRONMENT, "")
    study = ["--configfile", "config/studies/cincer_smoke.yaml", "--loop", "interactive@smoke"]
    return [
        "--model",
        "logreg",
        "--inspector",
        "never",
        "--threshold",
        "0",
        *study,
        "--folder",
        str(tmp_path / "s"),
    ]


def test_a_file_of_ones_own_is_cleaned(
    own: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_own(tmp_path)
    command = [*own, "--data", str(file), "--label", "verdict"]
    said = iter(["s good", "?", "e", "q"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(said))
    assert program.main(command) == 0
    out = capsys.readouterr().out
    assert "classes: 0 bad, 1 good" in out
    assert "colour" in out
    labels = pd.read_csv(tmp_path / "s" / "labels.csv")
    table = pd.read_csv(file)
    assert (labels["before"] == table["verdict"].to_numpy()[labels["row"]]).all()
    assert set(labels["state"].dropna()) <= {"corrected", "confirmed", "unsure"}
    assert (labels["state"] == "unsure").any()
    # The same file goes on, another does not.
    monkeypatch.setattr("builtins.input", lambda prompt: "q")
    assert program.main(command) == 0
    assert "Question 3," in capsys.readouterr().out
    table.loc[5, "weight"] = 17
    table.to_csv(file, index=False)
    assert program.main(command) == 1
    assert "a session with another data" in capsys.readouterr().err


def test_arrays_of_ones_own_are_cleaned(
    own: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_iris()
    np.save(tmp_path / "x.npy", data.data)
    np.save(tmp_path / "y.npy", data.target_names[data.target])
    monkeypatch.setattr("builtins.input", lambda prompt: "q")
    files = ["--data", str(tmp_path / "x.npy"), "--label", str(tmp_path / "y.npy")]
    assert program.main([*own, *files]) == 0
    loop_data = load_problem(tmp_path / "s" / "data" / "sources" / "own_data" / "features.npy")
    assert loop_data.classes == 3
    assert loop_data.inputs.shape == (120, 4)


def test_time_stamps_of_a_file_stay_apart(tmp_path: Path) -> None:
    times = 1_700_000_000 + np.arange(80) % 40
    table = pd.DataFrame({"time": times, "b": np.where(np.arange(80) % 40 < 20, "x", "y")})
    table.to_csv(tmp_path / "own.csv", index=False)
    pool = own_data.read(str(tmp_path / "own.csv"), "b")
    assert pool.columns == ("time",)
    np.testing.assert_array_equal(np.argsort(pool.features[:40, 0]), np.arange(40))
    assert len(np.unique(pool.features)) == 40


@pytest.mark.parametrize(
    ("content", "label", "message"),
    [
        ("a,b\n1,x\n2,y\n", None, "say which column is the label"),
        ("a,b\n1,x\n2,y\n", "c", "there is no column 'c'"),
        ("a,b\n1,x\n2,\n3,y\n4,x\n", "b", "row 3: it has no label, as 1 rows of 4; leave these rows out"),
        ("a,b\n1,x\n2,x\n3,x\n", "b", "1 class; at least 2 are needed"),
    ],
)
def test_a_file_that_cannot_be_cleaned_is_one_line(
    content: str,
    label: str | None,
    message: str,
    own: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "own.csv").write_text(content)
    named = [] if label is None else ["--label", label]
    assert program.main([*own, "--data", str(tmp_path / "own.csv"), *named]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


# --- the page ---------------------------------------------------------------------------------------------------


@pytest.fixture
def server(pictures: Path, tmp_path: Path) -> Iterator[PageServer]:
    yield from serve(open_session(make_loop(pictures), tmp_path), pictures)


def serve(session: Session, features: Path) -> Iterator[PageServer]:
    with PageServer(session, Samples(features)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


def ask(
    server: PageServer, method: str, path: str, content: object = None, **headers: str
) -> tuple[int, bytes]:
    """What the server replies to a request behind the secret."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    body = content if isinstance(content, bytes | None) else json.dumps(content).encode()
    connection.request(method, f"/{server.token}{path}", body, headers)
    reply = connection.getresponse()
    found = reply.status, reply.read()
    connection.close()
    return found


def say(server: PageServer, request: bytes, timeout: float = 20) -> bytes:
    """What the server replies to raw bytes; empty where it closes without a word."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=timeout) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as stream:
            return stream.read()


def test_the_page_listens_to_this_machine_alone(server: PageServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.address == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    status, body = ask(server, "GET", "/")
    assert status == 200
    assert b"Which label is wrong?" in body
    for path in ("/", "/state", "/answer"):
        assert ask(server, "GET" if path != "/answer" else "POST", path, Host="evil.example")[0] == 403
    assert ask(server, "GET", "/../../etc/passwd")[0] == 404
    assert ask(server, "POST", "/elsewhere", {})[0] == 404


SECRETS = [b"", b"guessed", b"gu\xe9ssed", b"\xf0\x9f\x98\x80", b"%00", b"..", b"x" * 10_000]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("path", [b"GET /%s/", b"GET /%s/state", b"GET /%s/picture/1", b"GET /%s/labels.csv"])
def test_every_request_must_name_the_secret(server: PageServer, secret: bytes, path: bytes) -> None:
    host = b"Host: 127.0.0.1:%d" % server.server_port
    for line in (path % secret, path.replace(b"GET", b"POST") % secret):
        reply = say(server, line + b" HTTP/1.1\r\n" + host + b"\r\nContent-Length: 2\r\n\r\n{}")
        assert reply.split()[1] == b"403"
        assert b"the address that the program has printed" in reply
    assert say(server, b"GET / HTTP/1.1\r\n" + host + b"\r\n\r\n").split()[1] == b"403"
    assert server.session.answered == 0


@pytest.mark.parametrize(
    ("length", "status"),
    [
        ("abc", 400),
        ("-1", 400),
        ("1e3", 400),
        ("\u0661", 400),
        ("+5", 400),
        ("10001", 413),
        ("9" * 5000, 413),
    ],
)
def test_a_length_that_is_none_is_refused(
    server: PageServer, length: str, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    request = (
        f"POST /{server.token}/answer HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    reply = say(server, request.encode() + b"{}")
    assert int(reply.split()[1]) == status
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"].startswith("answer: ")
    assert capfd.readouterr().err == ""


def test_a_request_that_never_ends_is_ended(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page_module, "_DEADLINE", 0.3)
    monkeypatch.setattr(page_module._Handler, "timeout", 0.3)
    for server in serve(open_session(make_loop(pictures), tmp_path), pictures):
        line = f"POST /{server.token}/answer HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n".encode()
        begun = time.monotonic()
        # Shorter than announced, a line without an end, and nothing at all.
        assert say(server, line + b"Content-Length: 900\r\n\r\n{").split()[1] == b"408"
        say(server, line)
        say(server, b"")
        # A byte now and then.
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as slow:
            slow.sendall(line + b"Content-Length: 900\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(100):
                    slow.sendall(b"{")
                    time.sleep(0.05)
                    if select.select([slow], [], [], 0)[0]:
                        break
            assert slow.recv(100).split()[1] == b"408"
        assert time.monotonic() - begun < 15
        assert ask(server, "GET", "/state")[0] == 200
    assert capfd.readouterr().err == ""


def test_too_many_requests_at_once_are_closed_and_the_next_are_served(
    server: PageServer, capfd: pytest.CaptureFixture[str]
) -> None:
    address = ("127.0.0.1", server.server_port)
    with contextlib.ExitStack() as open_ones:
        for _ in range(page_module._MOST_REQUESTS):
            open_ones.enter_context(socket.create_connection(address, timeout=20))
        with socket.create_connection(address, timeout=20) as refused:
            assert refused.recv(10) == b""
    for _ in range(100):
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ask(server, "GET", "/state")[0] == 200:
                break
        time.sleep(0.05)
    assert ask(server, "GET", "/state")[0] == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_is_none_is_one_line(port: int, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(GlitchtraceError, match=r"cannot be opened.*leave --port out"):
        PageServer(open_session(make_loop(pictures), tmp_path), Samples(pictures), port)


def test_the_page_shows_only_the_pictures_asked_about(server: PageServer) -> None:
    question = json.loads(ask(server, "GET", "/state")[1])["question"]
    status, png = ask(server, "GET", f"/picture/{question['example']['row']}")
    assert status == 200
    assert png.startswith(b"\x89PNG")
    other = {0, 1, 2} - {question["example"]["row"], question["counter"]["row"]}
    assert ask(server, "GET", f"/picture/{min(other)}")[0] == 404
    assert ask(server, "GET", "/picture/x")[0] == 404


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[" * 9_000, 400, "not JSON"),
        (b'{"number": ' + b"9" * 5000 + b', "labels": {}}', 400, "not JSON"),
        (b'{"number": 1e400, "labels": {}}', 400, "a number and labels are needed"),
        (b'{"number": NaN, "labels": {}}', 400, "a number and labels are needed"),
        (b'{"number": 1, "labels": {"1": 1e400}}', 400, "a number and labels are needed"),
        (b'{"number": 1, "labels": {"1": -Infinity}}', 400, "a number and labels are needed"),
        ({}, 400, "a number and labels are needed"),
        ([], 400, "a number and labels are needed"),
        ({"number": 1, "labels": {"x": 1}}, 400, "a number and labels are needed"),
        ({"number": 1, "labels": {"\u0661": 1}}, 400, "a number and labels are needed"),
        ({"number": 1, "labels": {"9" * 400: 1}}, 400, "a number and labels are needed"),
        ({"number": 1, "labels": {"1": 1.5}}, 400, "a number and labels are needed"),
        ({"number": 1, "labels": {"1": True}}, 400, "a number and labels are needed"),
        ({"number": True, "labels": {}}, 400, "a number and labels are needed"),
        ({"number": 1, "labels": [1]}, 400, "a number and labels are needed"),
        ({"number": 1, "labels": {}, "unsure": 1}, 400, "a number and labels are needed"),
        ({"number": 99, "labels": {}}, 409, "question 99 is not open"),
        ({"number": 1, "labels": {"1": 12}}, 409, "was not asked about"),
        (b" " * 20_000, 413, "too long"),
    ],
)
def test_a_bad_request_is_refused_and_changes_nothing(
    server: PageServer, content: object, status: int, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = ask(server, "GET", "/state")
    found, body = ask(server, "POST", "/answer", content)
    assert found == status
    assert message in json.loads(body)["error"]
    assert ask(server, "GET", "/state") == before
    assert capfd.readouterr().err == ""


def test_what_a_person_does_not_know_is_kept_and_not_confirmed(pictures: Path, tmp_path: Path) -> None:
    session = open_session(make_loop(pictures), tmp_path)
    for server in serve(session, pictures):
        first = json.loads(ask(server, "GET", "/state")[1])["question"]
        status, body = ask(server, "POST", "/answer", {"number": 1, "labels": {}, "unsure": True})
        second = json.loads(body)["question"]
        wrong = {second["example"]["place"]: (second["example"]["label"] + 1) % 10}
        assert status == 200
        assert ask(server, "POST", "/answer", {"number": 2, "labels": wrong})[0] == 200
        status, table = ask(server, "GET", "/labels.csv")
        assert status == 200
    labels = pd.read_csv(io.BytesIO(table), keep_default_na=False, dtype=str).set_index("row")
    assert len(labels) == len(session.loop.problem.rows)
    asked = labels.loc[[str(first["example"]["row"]), str(second["example"]["row"])]]
    assert asked["state"].tolist() == ["unsure", "corrected"]
    assert asked["before"].tolist() == [str(first["example"]["label"]), str(second["example"]["label"])]
    assert asked["label"].tolist() == [asked["before"].iloc[0], str(next(iter(wrong.values())))]
    assert (labels["before"] != labels["label"]).sum() == session.corrected == 1
    assert labels.index.astype(int).is_monotonic_increasing
    assert pd.read_csv(tmp_path / "questions.csv")["unsure"].tolist() == [True, False]
    again = open_session(make_loop(pictures), tmp_path)
    pd.testing.assert_frame_equal(again.questions(), session.questions())
    assert again.export(Samples(pictures).classes).read_bytes() == table


def test_a_counter_example_is_dropped_only_by_who_is_sure(table: Path, tmp_path: Path) -> None:
    known = []
    for unsure in (False, True):
        session = open_session(make_loop(table, "nearest"), tmp_path / str(unsure))
        session.loop.negotiator = replace(session.loop.negotiator, drops=True)
        question = session.question()
        assert question is not None
        session.answer(question.number, {}, unsure=unsure)
        known.append(question.counter_example in session.loop.state.known)
    assert known == [False, True]


def test_a_class_that_is_none_is_refused(server: PageServer) -> None:
    question = json.loads(ask(server, "GET", "/state")[1])["question"]
    answer = {"number": question["number"], "labels": {question["example"]["place"]: 12}}
    status, body = ask(server, "POST", "/answer", answer)
    assert status == 409
    assert "12 is no class" in json.loads(body)["error"]


def test_a_question_that_cannot_be_found_is_said_and_can_be_undone(pictures: Path, tmp_path: Path) -> None:
    session = open_session(make_failing_loop(pictures, 1), tmp_path)
    for server in serve(session, pictures):
        first = json.loads(ask(server, "GET", "/state")[1])["question"]
        # The answer is taken, and the same reply says that there is no next question.
        status, body = ask(server, "POST", "/answer", {"number": 1, "labels": {first["example"]["place"]: 3}})
        after = json.loads(body)
        assert status == 200
        assert after["answered"] == 1
        assert after["question"] is None
        assert after["error"] == "LiSSA diverged; raise the damping"
        assert json.loads(ask(server, "GET", "/state")[1]) == after
        assert ask(server, "GET", f"/picture/{first['example']['row']}")[0] == 404
        status, body = ask(server, "POST", "/answer", {"number": 2, "labels": {}})
        assert status == 409
        assert "raise the damping" in json.loads(body)["error"]
    # A server that is started again tells the same, and undo comes back to the question.
    again = open_session(make_failing_loop(pictures, 1), tmp_path)
    for server in serve(again, pictures):
        assert json.loads(ask(server, "GET", "/state")[1]) == after
        status, body = ask(server, "POST", "/undo", {})
        assert status == 200
        before = json.loads(body)
        assert before["question"] == first
        assert before["error"] is None
        assert before["answered"] == 0


@pytest.fixture
def browser() -> Iterator:
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        running = player.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield running
        running.close()


def wait_for(page, text: str) -> None:
    page.wait_for_function("text => document.getElementById('progress').textContent.includes(text)", arg=text)


def test_a_person_answers_in_the_browser(browser, pictures: Path, tmp_path: Path) -> None:
    session = open_session(make_loop(pictures), tmp_path)
    for server in serve(session, pictures):
        page = browser.new_page()
        page.goto(server.address)
        wait_for(page, "Question 1,")
        first = session.question()
        assert first is not None
        assert page.locator("img").count() == 2
        width = page.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth)")
        assert width == 224
        assert page.locator("#confirm").inner_text() == "Both labels are right"
        assert page.locator("#undo").is_disabled()
        # Relabel both, take it back, relabel one, keep.
        selects = page.locator("select")
        for place, sample in enumerate(first.pool):
            wrong = (session.loop.state.labels[sample] + 1) % 10
            selects.nth(place).select_option(str(wrong))
        assert page.locator("#confirm").inner_text() == "Relabel both"
        page.locator("#confirm").click()
        wait_for(page, "Question 2,")
        second = session.question()
        assert second is not None
        assert session.loop.state.labels[first.example] == (first.annotated + 1) % 10
        page.locator("#undo").click()
        wait_for(page, "Question 1,")
        assert session.loop.state.labels[first.example] == first.annotated
        page.locator("select").nth(0).select_option(str(first.predicted))
        assert page.locator("#confirm").inner_text() == "Relabel the marked one"
        # The page is closed in mid-question: what was not sent is not taken, and the question waits.
        page.close()
        assert session.answered == 0
        page = browser.new_page()
        page.goto(server.address)
        wait_for(page, "Question 1,")
        page.locator("#confirm").click()
        wait_for(page, "Question 2,")
        assert session.loop.state.labels[first.example] == first.annotated
        # The same question in a second window, answered here and there.
        other = browser.new_page()
        other.goto(server.address)
        wait_for(other, "Question 2,")
        page.locator("#confirm").click()
        wait_for(page, "Question 3,")
        other.locator("#confirm").click()
        other.wait_for_function(
            "() => document.getElementById('message').textContent.includes('is not open')"
        )
        wait_for(other, "Question 3,")
        assert session.answered == 2
    again = open_session(make_loop(pictures), tmp_path)
    assert again.answered == 2
    for server in serve(again, pictures):
        page = browser.new_page()
        page.goto(server.address)
        wait_for(page, "Question 3,")
        while again.question() is not None:
            before = page.locator("#progress").inner_text()
            page.locator("#confirm").click()
            page.wait_for_function(
                "old => document.getElementById('progress').textContent !== old", arg=before
            )
        assert "No more samples" in page.locator("#progress").inner_text()


def test_the_browser_shows_why_there_is_no_next_question(browser, table: Path, tmp_path: Path) -> None:
    session = open_session(make_failing_loop(table, 1), tmp_path)
    for server in serve(session, table):
        page = browser.new_page()
        page.goto(server.address)
        wait_for(page, "Question 1,")
        page.locator("#confirm").click()
        wait_for(page, "The next question cannot be found. 1 questions answered")
        assert page.locator("#message").inner_text() == "LiSSA diverged; raise the damping"
        assert page.locator("#confirm").is_disabled()
        page.locator("#undo").click()
        wait_for(page, "Question 1,")
        assert page.locator("#message").inner_text() == ""


def test_rows_stand_side_by_side_in_the_browser(browser, table: Path, tmp_path: Path) -> None:
    session = open_session(make_loop(table), tmp_path)
    for server in serve(session, table):
        page = browser.new_page()
        page.goto(server.address)
        wait_for(page, "Question 1,")
        assert page.locator("table").count() == 2
        assert "petal length (cm)" in page.locator("table").first.inner_text()
        left, right = (page.locator("figure").nth(place).bounding_box() for place in range(2))
        assert left["y"] == right["y"]
        assert left["x"] < right["x"]
        page.screenshot(path=str(tmp_path / "page.png"))
    assert (tmp_path / "page.png").stat().st_size > 1000


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_window_and_says_that_it_works(
    width: int, browser, pictures: Path, tmp_path: Path
) -> None:
    session = open_session(make_loop(pictures), tmp_path)
    for server in serve(session, pictures):
        page = browser.new_page(viewport={"width": width, "height": 844})
        page.goto(server.address)
        wait_for(page, "Question 1, sample ")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        left, right = (page.locator("figure").nth(place).bounding_box() for place in range(2))
        assert left["y"] == right["y"]
        assert page.locator("#undo").bounding_box()["y"] + 30 < 844
        assert not page.locator("#busy").is_visible()
        with server.lock:
            page.locator("#unsure").click()
            page.locator("#busy").wait_for(state="visible")
            assert page.locator("select:enabled, button:enabled").count() == 0
        wait_for(page, "Question 2, sample ")
        assert not page.locator("#busy").is_visible()
        assert page.locator("#bar").evaluate("bar => bar.value / bar.max") > 0
        assert session.questions()["unsure"].tolist() == [True]
        with page.expect_download() as saved:
            page.locator("#labels").click()
        assert len(pd.read_csv(saved.value.path())) == len(session.loop.problem.rows)
        with server.lock:
            page.locator("#undo").click()
            assert page.locator("figure").count() == 0  # the question that is no more goes at once
        wait_for(page, "Question 1, sample ")
        page.close()
