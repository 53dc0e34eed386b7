"""What can go wrong. Every message says what to do about it, as far as that is known."""

from __future__ import annotations

from typing import Any, Mapping, Optional


class OoblexError(RuntimeError):
    """Everything that this package raises about the server."""


class StartError(OoblexError):
    """The server did not start, or is gone.

    ``exit_code`` is the program's: 1 could not start or run, 2 wrong settings, ``None`` if it never ran or did not answer.
    ``logs`` is what it wrote last.
    """

    def __init__(self, message: str, exit_code: Optional[int] = None, logs: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.logs = logs


class RequestError(OoblexError):
    """The server refused a request.

    ``status`` is the HTTP status, ``code`` names the reason (such as ``unknown_effect``), and ``problem`` is the whole
    document that the server answered with.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = dict(problem)
        self.code = str(problem.get("code", ""))
        detail = str(problem.get("detail") or problem.get("title") or f"HTTP status {status}")
        known = problem.get("known")
        if isinstance(known, list) and known:
            detail += "; known are " + ", ".join(map(str, known))
        super().__init__(detail)
