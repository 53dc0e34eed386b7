"""A running server."""

from __future__ import annotations

import atexit
import collections
import json
import queue
import re
import threading
import urllib.parse
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Deque, Dict, List, Mapping, Optional, Sequence, Type, Union

from . import _http
from ._config import Config, invocation, merged
from ._errors import OoblexError, StartError
from ._program import Process

# Lines of log that an error shows.
_TAIL = 20
# Announcements that are kept.
_KEPT_EVENTS = 200

_running: List["Server"] = []
_lock = threading.Lock()


@dataclass(frozen=True)
class Urls:
    """Where everything is found, as opened on this machine. Where the server asks for tokens, they are in it."""

    base: str
    page: str
    view: str
    stream: str
    snapshot: str
    upload: str
    #: ``None`` where the server takes no WebRTC.
    whip: Optional[str]


def start(
    model: Optional[str] = None,
    tunnel: Optional[str] = None,
    *,
    config: Optional[Config] = None,
    timeout: float = 60.0,
    **settings: Any,
) -> "Server":
    """Starts a server and returns when it can be connected to.

    ``model`` is the effect to begin with, several joined by ``|``; the server's default is ``face_detection``. ``tunnel``
    names what makes the server reachable from elsewhere; the default is nothing. Further settings are those of
    ``docs/CONFIG.md`` under their names there (``mjpeg_port=0`` takes any free port) and those of the demo (``port``,
    ``max_fps``, ``default_effect``). They go before those of ``config``, and all of them before ``OOBLEX_...`` variables and
    ``ooblex.toml``. Secrets never appear in the program's arguments.

    Raises ``StartError`` if it does not start, saying why and what to do, or if it is not ready within ``timeout`` seconds.
    """
    if isinstance(tunnel, bool):
        raise TypeError("tunnel is the name of a provider, such as 'cloudflared', or None")
    return Server(merged(config, {"model": model, "tunnel": tunnel, **settings}), timeout)


class Server:
    """A server, from :func:`start` to :meth:`stop`. Leaving a ``with`` block stops it, and so does the end of this process."""

    def __init__(self, settings: Mapping[str, Any], timeout: float) -> None:
        arguments, variables = invocation(settings)
        self._events: Deque[Dict[str, Any]] = collections.deque(maxlen=_KEPT_EVENTS)
        self._process = Process(arguments, variables, self._events.append)
        try:
            ready = self._await_ready(timeout)
        except BaseException:
            self._process.stop()
            raise
        # Tokens that were given to it the server does not tell.
        self._tokens: Dict[str, str] = {
            right: str(settings[f"{right}_token"])
            for right in ("control", "publish", "view")
            if f"{right}_token" in settings
        }
        # Those that were made; the others are known already.
        made = ready.get("tokens") or {}
        self._tokens.update({right: token for right, token in made.items() if token})
        #: The server's version.
        self.version: str = ready["version"]
        #: What is wrong, and what to do.
        self.warnings: List[str] = list(ready.get("warnings") or [])
        #: What is continued of an earlier server (``docs/CHECKPOINTS.md``); ``None`` if it begins anew.
        self.resumed: Optional[Dict[str, Any]] = ready.get("resumed")
        #: Where everything is found.
        self.urls = self._urls(ready["urls"])
        with _lock:
            _running.append(self)

    def _await_ready(self, timeout: float) -> Dict[str, Any]:
        try:
            event = self._process.first_event(timeout)
        except queue.Empty:
            raise StartError(
                f"the server was not ready within {timeout:g} seconds; its log ends with:\n{self.logs(_TAIL)}",
                logs=self.logs(),
            ) from None
        if event is None:
            log = self.logs(_TAIL)
            raise StartError(f"the server did not start:\n{log}{_fix(log)}", self._process.exit_code, self.logs())
        if event.get("event") != "ready":
            raise StartError(f"the server announced {event.get('event')!r} instead of being ready", logs=self.logs())
        return event

    def _urls(self, told: Mapping[str, Any]) -> Urls:
        """The URLs, with tokens in place of the word TOKEN where it stands."""

        def filled(name: str, *rights: str) -> Any:
            token, url = self._first_token(*rights), told.get(name)
            return re.sub(r"\bTOKEN\b", token, url) if url and token else url

        return Urls(
            base=told["base"],
            page=filled("page", "control", "publish", "view"),
            view=filled("view", "view", "control"),
            stream=filled("stream", "view"),
            snapshot=filled("snapshot", "view"),
            upload=filled("upload", "publish", "control"),
            whip=filled("whip", "publish", "control"),
        )

    def _first_token(self, *rights: str) -> Optional[str]:
        return next((self._tokens[right] for right in rights if right in self._tokens), None)

    def __repr__(self) -> str:
        state = "running" if self.is_running else f"stopped with {self._process.exit_code}"
        return f"<ooblex.Server {self.urls.base} {state}>"

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the program runs."""
        return self._process.exit_code is None

    @property
    def pid(self) -> int:
        """The program's process number."""
        return self._process.pid

    @property
    def tokens(self) -> Dict[str, str]:
        """The tokens by right: ``control``, ``publish``, ``view``, and ``link`` of links for viewers; empty where the server asks for none. Keep them to yourself."""
        return dict(self._tokens)

    def events(self, kind: Optional[str] = None) -> List[Dict[str, Any]]:
        """What the server announced, the oldest first, of one kind or all; at most the last 200."""
        return [event for event in list(self._events) if kind is None or event.get("event") == kind]

    @property
    def tunnel(self) -> Optional[Dict[str, Any]]:
        """What the server announced last about its tunnel: ``provider``, ``state``, ``url``, ``reason``."""
        told = self.events("tunnel")
        return told[-1] if told else None

    def logs(self, lines: Optional[int] = None) -> str:
        """The last lines of the server's log; the last 2,000 unless told how many."""
        return self._process.log(lines)

    def set_effect(
        self,
        name: Union[str, Sequence[str]],
        params: Optional[Mapping[str, Mapping[str, Any]]] = None,
        stream: Optional[str] = None,
    ) -> Dict[str, Any]:
        """Switches the effect of one stream, or of all of them and those to come.

        ``name`` may be several effects, as a list or joined by ``|``; ``params`` holds the parameters by effect:
        ``{"edge_detection": {"low": 50}}``. Returns when the new one shows, with what the server says about it.

        Raises ``RequestError`` for an unknown effect, stream or parameter, with those that are known; the old effect then
        goes on.
        """
        effect = name if isinstance(name, str) else "|".join(name)
        path = "effect" if stream is None else f"streams/{_quoted(stream)}/effect"
        return self._ask(path, {"effect": effect, "params": dict(params or {})})

    def effects(self) -> Dict[str, str]:
        """Every effect with what it does."""
        return self._ask("effects")

    def status(self) -> Dict[str, Any]:
        """What runs: effect, streams, transports, tunnel."""
        return self._ask("status")

    def health(self) -> Dict[str, Any]:
        """Whether all is well, and what computes."""
        return self._ask("health")

    def upload(self, picture: bytes, stream: str = "default") -> None:
        """Sends one picture, JPEG, PNG or WebP, to a stream, which begins with its first one.

        Raises ``RequestError`` for what is no such picture, or too large.
        """
        self._request(f"upload?stream={_quoted(stream)}", picture, "application/octet-stream")

    def snapshot(self, stream: Optional[str] = None) -> bytes:
        """The newest picture as JPEG: of a stream, or of the one that began last.

        Raises ``RequestError`` where there is none yet, or no such stream.
        """
        return self._request("snapshot.jpg" if stream is None else f"streams/{_quoted(stream)}/snapshot.jpg")

    def show(self, height: int = 720) -> None:
        """Shows the page: in the cell of a notebook, ``height`` pixels high; elsewhere prints where it is."""
        from . import _show

        _show.show(self, height)

    def stop(self) -> int:
        """Stops the server and gives the program's exit code: 0 after a clean stop. Once more does nothing."""
        with _lock:
            if self in _running:
                _running.remove(self)
        return self._process.stop()

    def _ask(self, path: str, body: Optional[Mapping[str, Any]] = None) -> Any:
        answer = self._request(path, None if body is None else json.dumps(body).encode())
        return json.loads(answer)

    def _request(self, path: str, body: Optional[bytes] = None, content_type: str = "application/json") -> bytes:
        exit_code = self._process.exit_code
        if exit_code is not None:
            raise StartError(
                f"the server has stopped (exit code {exit_code}); start another one. Its log ends with:\n{self.logs(_TAIL)}",
                exit_code,
                self.logs(),
            )
        url = self.urls.base + path
        return _http.request(url, body=body, content_type=content_type, token=self._first_token("control", "publish", "view"))


def running() -> List[Server]:
    """The servers that this process started and has not stopped."""
    with _lock:
        return list(_running)


@atexit.register
def stop_all() -> None:
    """Stops every server that this process started."""
    for server in running():
        server.stop()


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _fix(log: str) -> str:
    """What to do about it from Python, where the log says what to do in a shell."""
    if "in use" not in log.lower():
        return ""
    mine = [str(server.urls.base) for server in running()]
    if mine:
        return f"\nThis process runs a server at {', '.join(mine)}; ooblex.stop_all() stops it, mjpeg_port=0 takes a free port."
    return "\nmjpeg_port=0 takes a free port."
