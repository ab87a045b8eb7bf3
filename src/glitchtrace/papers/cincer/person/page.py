"""The annotator as a page in the browser, served to this machine alone.

The server listens on the loopback interface, where every user of the machine can reach it; every request must name the
secret in the printed address.  It refuses requests under another host name too (a foreign page could rebind its name to
this address).  A request has limits: of its size, of the time in which it must have come, and of how many there are at
once.

The open question belongs to the session, not to the page: closing the page in mid-question, opening it twice, or
stopping the server loses nothing, and an answer to a question that is no longer open is refused.
"""

import json
import secrets
import socket
import sys
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from glitchtrace.core.errors import GlitchtraceError
from glitchtrace.papers.cincer.person.session import NotStoredError, Samples, Session

_LOOPBACK = "127.0.0.1"
_PAGE = Path(__file__).with_name("page.html")
_LARGEST_BODY = 10_000
# Seconds in which a request must have come.
_DEADLINE = 10.0
_MOST_REQUESTS = 32


class PageServer(ThreadingHTTPServer):
    """Serves one session; ``port`` 0 takes a free one.  ``address`` is what to open in the browser."""

    daemon_threads = True

    def __init__(self, session: Session, samples: Samples, port: int = 0) -> None:
        self.session, self.samples = session, samples
        self.token = secrets.token_urlsafe(16)
        self.lock = threading.Lock()
        self._free = threading.BoundedSemaphore(_MOST_REQUESTS)
        try:
            super().__init__((_LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            raise GlitchtraceError(f"port {port} cannot be opened ({error}); leave --port out") from None
        self.address = f"http://{_LOOPBACK}:{self.server_port}/{self.token}/"
        self.hosts = {f"{name}:{self.server_port}" for name in (_LOOPBACK, "localhost")}

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve in a thread of its own, or close at once where there are too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve, then make room for the next."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One line, and none for a browser that has gone away."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"error: a request failed ({type(error).__name__}: {error})", file=sys.stderr)

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
            "corrected": self.session.corrected,
            "arrived": loop.state.position,
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
        """Take the answer that the page sends: the question's number, and labels by place or that it is unsure."""
        number, labels, unsure = content["number"], content["labels"], content.get("unsure", False)
        self.session.answer(number, {int(place): label for place, label in labels.items()}, unsure=unsure)


def is_answer(content: Any) -> bool:
    """Whether what a page has sent has the form of an answer."""
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        return False
    places, labels = content["labels"].keys(), content["labels"].values()
    return (
        type(content.get("number")) is int
        and type(content.get("unsure", False)) is bool
        and all(place.isascii() and place.isdecimal() and len(place) < 10 for place in places)
        and all(type(label) is int for label in labels)
    )


class _RefusedError(Exception):
    """A request that is refused, with the status and the line that say why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = _DEADLINE

    def setup(self) -> None:
        super().setup()
        # However slowly a request drips in.
        self._deadline = threading.Timer(_DEADLINE, self._stop_reading)
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        self._deadline.cancel()
        super().finish()

    def _stop_reading(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, serve: Any) -> None:
        """Serve a request; whatever is wrong with it is one line."""
        try:
            serve(self._path())
        except _RefusedError as refused:
            self._refuse(refused.status, str(refused))
        except NotStoredError as error:
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, str(error))
        except GlitchtraceError as error:
            self._refuse(HTTPStatus.CONFLICT, str(error))

    def _get(self, path: str) -> None:
        self._deadline.cancel()
        if path == "":
            self._send(_PAGE.read_bytes(), "text/html; charset=utf-8")
        elif path == "state":
            self._send_state()
        elif path == "labels.csv":
            with self.server.lock:
                table = self.server.session.labels(self.server.samples.classes)
            self._send(table.to_csv(index=False).encode(), "text/csv; charset=utf-8")
        elif path.startswith("picture/"):
            self._send_picture(path.removeprefix("picture/"))
        else:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "no such page")

    def _post(self, path: str) -> None:
        body = self._body()
        self._deadline.cancel()
        try:
            content = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "answer: not JSON; reload the page") from None
        if path == "answer":
            if not is_answer(content):
                raise _RefusedError(
                    HTTPStatus.BAD_REQUEST, "answer: a number and labels are needed; reload the page"
                )
            with self.server.lock:
                self.server.answer(content)
        elif path == "undo":
            with self.server.lock:
                self.server.session.undo()
        else:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "no such page")
        self._send_state()

    def _path(self) -> str:
        """The path behind the secret.  Raises _RefusedError for another host and without the secret."""
        if self.headers.get("Host") not in self.server.hosts:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "unknown host")
        _, _, path = self.path.partition("/")
        secret, slash, rest = path.partition("/")
        given = secret.encode("utf-8", "surrogateescape")
        if not slash or not secrets.compare_digest(given, self.server.token.encode()):
            raise _RefusedError(
                HTTPStatus.FORBIDDEN, "this is not the address that the program has printed; open that one"
            )
        return rest.partition("?")[0]

    def _body(self) -> bytes:
        """The body, of the length that the request names."""
        named = self.headers.get("Content-Length", "0").strip()
        if not (named.isascii() and named.isdecimal()):
            raise _RefusedError(
                HTTPStatus.BAD_REQUEST, "answer: Content-Length is no number; reload the page"
            )
        if len(named.lstrip("0")) > len(str(_LARGEST_BODY)) or int(named) > _LARGEST_BODY:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "answer: too long")
        try:
            body = self.rfile.read(int(named))
        except TimeoutError:
            body = b""
        if len(body) < int(named):
            raise _RefusedError(HTTPStatus.REQUEST_TIMEOUT, "answer: shorter than announced; send it again")
        return body

    def _send_state(self) -> None:
        with self.server.lock:
            state = self.server.state()
        self._send(json.dumps(state).encode(), "application/json")

    def _send_picture(self, row: str) -> None:
        with self.server.lock:
            question = self.server.state()["question"]
        open_rows = [str(part["row"]) for part in (question or {}).values() if isinstance(part, dict)]
        if not self.server.samples.pictures or row not in open_rows:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "no such picture")
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
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """No line per request."""
