"""The page in a cell on Colab, by its port proxy, and the kernel's side of what that proxy does not pass."""

from __future__ import annotations

import base64
import json
import re
import secrets
import urllib.parse
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

from ._errors import OoblexError, RequestError

if TYPE_CHECKING:
    from ._server import Server

#: What the page may ask for through the kernel, by method, and the type of the answer. Names of streams are as in API.md.
_STREAM = r"streams/[A-Za-z0-9_-]{1,64}/"
_ALLOWED = [
    ("POST", re.compile(r"upload\?stream=[A-Za-z0-9_-]{1,64}"), "text/plain"),
    ("POST", re.compile(rf"({_STREAM})?effect"), "application/json"),
    ("POST", re.compile(r"models/[a-z0-9_]{1,64}/(un)?load"), "application/json"),
    ("POST", re.compile(r"webrtc/offer"), "application/json"),
    ("GET", re.compile(rf"({_STREAM})?snapshot\.jpg"), "image/jpeg"),
]
# As base64; the server's own limit is lower by default.
_LONGEST_BODY = 16 << 20


def show(server: "Server", height: int) -> None:
    """Displays the page in the output of the cell that runs, ``height`` pixels high.

    A cell that runs keeps the kernel busy, and what goes through the kernel then waits: show it in a cell that ends.
    """
    from google.colab import output  # type: ignore[import-not-found]
    from IPython.display import HTML, display

    nonce = secrets.token_urlsafe(32)
    callback = f"ooblex.{nonce}"
    output.register_callback(callback, bridge(server))
    # On the proxy the server's address is another one; its port, and the token in the path, stay.
    page = urllib.parse.urlsplit(server.urls.page)
    place = f"ooblex-{secrets.token_hex(8)}"
    given = {"place": place, "port": page.port, "path": page.path, "callback": callback, "nonce": nonce, "height": int(height)}
    script = (Path(__file__).parent / "_colab.js").read_text(encoding="utf-8")
    # Nothing inside may end the element.
    arguments = json.dumps(given).replace("<", "\\u003c")
    display(HTML(f'<div id="{place}"><p></p></div><script>(\n{script})({arguments})</script>'))


def bridge(server: "Server") -> Callable[[str, str, str, str], Any]:
    """What the cell calls in the kernel: method, path, type and body (base64) of a request become those of the answer."""
    # The kernel keeps callbacks for ever, and they should not keep servers.
    known = weakref.ref(server)

    def ask(method: str, path: str, content_type: str, body: str) -> Any:
        from IPython.display import JSON

        return JSON(_answer(known(), method, path, content_type, body))

    return ask


def _answer(server: "Optional[Server]", method: str, path: str, content_type: str, body: str) -> Dict[str, Any]:
    kind = next((kind for allowed, pattern, kind in _ALLOWED if allowed == method and pattern.fullmatch(path)), None)
    if kind is None:
        return _problem(403, f"{method} {path[:100]!r} does not go through the notebook")
    if len(body) > _LONGEST_BODY:
        return _problem(413, f"the body has {len(body)} bytes as base64, the limit is {_LONGEST_BODY}")
    if server is None or not server.is_running:
        return _problem(503, "the server has stopped; run the cells that start and show it again")
    try:
        sent = base64.b64decode(body, validate=True) if method == "POST" else None
        # What a notebook starts is the notebook's: it asks with the server's own token.
        answer = server._request(path, sent, content_type or "application/json")
    except RequestError as error:
        return _result(error.status, "application/problem+json", json.dumps(error.problem).encode())
    except ValueError as error:
        return _problem(400, f"the body is no base64: {error}")
    except OoblexError as error:
        return _problem(503, str(error).splitlines()[0])
    return _result(200, kind, answer)


def _problem(status: int, detail: str) -> Dict[str, Any]:
    return _result(status, "application/problem+json", json.dumps({"status": status, "detail": detail}).encode())


def _result(status: int, kind: str, body: bytes) -> Dict[str, Any]:
    return {"status": status, "type": kind, "body": base64.b64encode(body).decode()}
