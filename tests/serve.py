"""Small web servers on the loopback address, for tests of downloads."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["Answer", "Server", "give", "serve", "write_registry"]

# What a server does with a request; the handler has path and wfile.
Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A running server: where it is, and which paths were asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[str] = []


def give(content: bytes) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return answer


@contextmanager
def serve(answer: Answer, certificate: Path | None = None) -> Iterator[Server]:
    """Run a server until the block ends; with a certificate and key in one file, over TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Say nothing about clients that hang up or do not trust us."""

    listener = Quiet(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        scheme = "https"
    server = Server(f"{scheme}://localhost:{listener.server_port}")
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def write_registry(path: Path, dataset: str, name: str, **entry: str | int) -> None:
    """Add an entry to a registry file."""
    lines = [f'[{dataset}."{name}"]', *(f"{key} = {value!r}" for key, value in entry.items())]
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
