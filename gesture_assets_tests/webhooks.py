"""A chat's incoming webhook, on this machine.

Belongs here: the web server that keeps what is posted. Does not belong here: what should arrive (the tests).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Posts = list[dict[str, Any]]


@contextmanager
def listening(posts: Posts) -> Iterator[str]:
    """The address of a server that adds what is posted to `posts`; /500 and /moved answer so, / is content."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append({"type": self.headers["Content-Type"], **json.loads(body)})
            self.send_response({"/500": 500, "/moved": 302}.get(self.path, 200))
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
