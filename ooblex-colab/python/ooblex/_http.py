"""Requests to the server."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Optional

from ._errors import OoblexError, RequestError

# Seconds. A new effect may have to load a model first.
TIMEOUT = 60.0

# The server is on this machine: no proxy that the environment names is asked.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def request(
    url: str,
    *,
    body: Optional[bytes] = None,
    content_type: str = "application/json",
    token: Optional[str] = None,
) -> bytes:
    """The answer to a GET, or to a POST of ``body``.

    Raises ``RequestError`` with the server's problem document, and ``OoblexError`` where no server answers.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = content_type
    try:
        with _opener.open(urllib.request.Request(url, data=body, headers=headers), timeout=TIMEOUT) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise RequestError(error.code, _problem(error.read())) from None
    except OSError as error:
        # Of the URL only what holds no token.
        raise OoblexError(f"the server does not answer: {error}") from None


def _problem(body: bytes) -> Any:
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"detail": body.decode("utf-8", "replace")[:500]}
