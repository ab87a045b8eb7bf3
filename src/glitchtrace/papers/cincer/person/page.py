"""The annotator as a page in the browser, served to this machine alone.

The server listens on the loopback interface.  It refuses requests under another host name (a foreign page could rebind
its name to this address) and changes without the token that it wrote into its own page (a foreign page could send
forms).  The open question belongs to the session, not to the page: closing the page in mid-question, opening it twice,
or stopping the server loses nothing, and an answer to a question that is no longer open is refused.
"""

import json
import secrets
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.person.session import Samples, Session

_LOOPBACK = "127.0.0.1"
_PAGE = Path(__file__).with_name("page.html")
_LARGEST_BODY = 10_000


class PageServer(ThreadingHTTPServer):
    """Serves one session; ``port`` 0 takes a free one.  ``address`` is what to open in the browser."""

    daemon_threads = True

    def __init__(self, session: Session, samples: Samples, port: int = 0) -> None:
        self.session, self.samples = session, samples
        self.token = secrets.token_urlsafe(16)
        self.lock = threading.Lock()
        super().__init__((_LOOPBACK, port), _Handler)
        self.address = f"http://{_LOOPBACK}:{self.server_port}/"
        self.hosts = {f"{name}:{self.server_port}" for name in (_LOOPBACK, "localhost")}

    def state(self) -> dict[str, Any]:
        """What the page shows; ``error`` says why there is no next question though the stream has not ended."""
        loop, question, error = self.session.loop, None, None
        try:
            question = self.session.question()
        except GlitchtraceError as reason:
            error = str(reason)
        shown: dict[str, Any] = {
            "classes": self.samples.classes,
            "pictures": self.samples.pictures,
            "answered": self.session.answered,
            "stream": len(loop.start.stream),
            "f1": loop.state.rows[-1]["f1"],
            "question": None,
            "error": error,
        }
        if question is not None:
            shown["question"] = {
                "number": question.number,
                "iteration": question.iteration,
                "predicted": question.predicted,
                "drops": question.drops,
                "example": self._sample(question.example, question.annotated),
                "counter": None
                if question.counter_example is None
                else self._sample(question.counter_example, question.counter_annotated),
            }
        return shown

    def _sample(self, place: int, label: int | None) -> dict[str, Any]:
        row = int(self.session.loop.problem.rows[place])
        fields = None if self.samples.pictures else self.samples.fields(row)
        return {"place": place, "row": row, "label": label, "fields": fields}

    def answer(self, content: Any) -> None:
        """Take the answer that the page sends: the question's number and labels by place."""
        try:
            number = int(content["number"])
            labels = {int(place): int(label) for place, label in content["labels"].items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            raise GlitchtraceError("answer: a number and labels are needed; reload the page") from None
        self.session.answer(number, labels)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        if not self._known_host():
            return
        if self.path == "/":
            page = _PAGE.read_text(encoding="utf-8").replace("{{token}}", self.server.token)
            self._send(page.encode(), "text/html; charset=utf-8")
        elif self.path == "/state":
            self._send_state()
        elif self.path.startswith("/picture/"):
            self._send_picture(self.path.removeprefix("/picture/"))
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "no such page")

    def do_POST(self) -> None:
        if not self._known_host():
            return
        if not secrets.compare_digest(self.headers.get("X-Token", ""), self.server.token):
            self._refuse(HTTPStatus.FORBIDDEN, "the page belongs to another session; reload it")
            return
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LARGEST_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "answer: too long")
            return
        try:
            content = json.loads(self.rfile.read(length) or b"{}")
            with self.server.lock:
                if self.path == "/answer":
                    self.server.answer(content)
                elif self.path == "/undo":
                    self.server.session.undo()
                else:
                    self._refuse(HTTPStatus.NOT_FOUND, "no such page")
                    return
        except ValueError:
            self._refuse(HTTPStatus.BAD_REQUEST, "answer: not JSON; reload the page")
        except GlitchtraceError as error:
            self._refuse(HTTPStatus.CONFLICT, str(error))
        else:
            self._send_state()

    def _known_host(self) -> bool:
        if self.headers.get("Host") in self.server.hosts:
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "unknown host")
        return False

    def _send_state(self) -> None:
        with self.server.lock:
            state = self.server.state()
        self._send(json.dumps(state).encode(), "application/json")

    def _send_picture(self, row: str) -> None:
        with self.server.lock:
            question = self.server.state()["question"]
        open_rows = [str(part["row"]) for part in (question or {}).values() if isinstance(part, dict)]
        if not self.server.samples.pictures or row not in open_rows:
            self._refuse(HTTPStatus.NOT_FOUND, "no such picture")
            return
        self._send(self.server.samples.png(int(row)), "image/png")

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._send(json.dumps({"error": message}).encode(), "application/json", status)

    def _send(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """No line per request."""
