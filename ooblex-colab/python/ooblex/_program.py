"""Where the program is, and running it."""

from __future__ import annotations

import collections
import json
import os
import queue
import shutil
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from typing import IO, Any, Callable, Deque, Dict, Iterator, List, Mapping, Optional

from ._errors import OoblexError

NAME = "ooblex-colab"
# Lines of log that are kept.
KEPT_LINES = 2000
# Seconds in which the program stops by itself before it is killed. It gives its own stages less.
STOP_SECONDS = 15.0


def program() -> str:
    """The path of the program: the one that the variable ``OOBLEX_BIN`` names, else the one installed with this package,
    else the one on ``PATH``.

    Raises ``OoblexError`` where there is none.
    """
    named = os.environ.get("OOBLEX_BIN")
    if named:
        if not os.access(named, os.X_OK):
            raise OoblexError(f"OOBLEX_BIN names {named}, which is no program")
        return named
    for folder in _folders():
        path = folder / NAME
        if os.access(path, os.X_OK) and path.is_file():
            return str(path)
    found = shutil.which(NAME)
    if found is None:
        raise OoblexError(
            f"the program {NAME} was not found; install the wheel that brings it (`pip install WHEEL`), or build it with "
            "`cargo build --release -p ooblex-colab` and let OOBLEX_BIN name it"
        )
    return found


def _folders() -> Iterator[Path]:
    """Where pip puts programs: for the environment, the user, and with ``--target``."""
    yield Path(sysconfig.get_path("scripts"))
    yield Path(sys.executable).parent
    yield Path(sysconfig.get_path("scripts", f"{os.name}_user"))
    yield Path(__file__).parent.parent / "bin"


class Process:
    """The program while it runs: what it announces, what it logs, and its end.

    It ends when its standard input does, so with this process, even if that is killed.
    """

    def __init__(
        self,
        arguments: List[str],
        variables: Mapping[str, str],
        on_event: Callable[[Dict[str, Any]], None],
    ) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "OOBLEX_BIN"}
        environment.update(variables)
        self._lines: Deque[str] = collections.deque(maxlen=KEPT_LINES)
        self._on_event = on_event
        self._stopping = threading.Lock()
        self._child = subprocess.Popen(
            [program(), "serve", "--announce=json", "--stop-with-stdin", *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C in a terminal interrupts the cell or the script, which then decides about the server.
            start_new_session=True,
        )
        assert self._child.stdout is not None and self._child.stderr is not None
        self._first: "queue.Queue[Optional[Dict[str, Any]]]" = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read_events, args=(self._child.stdout,), name="ooblex-events", daemon=True),
            threading.Thread(target=self._read_log, args=(self._child.stderr,), name="ooblex-log", daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._child.pid

    @property
    def exit_code(self) -> Optional[int]:
        """What it ended with; ``None`` while it runs."""
        return self._child.poll()

    def first_event(self, timeout: float) -> Optional[Dict[str, Any]]:
        """What it announces first; ``None`` if it ended before. Raises ``queue.Empty`` when ``timeout`` seconds have passed."""
        event = self._first.get(timeout=timeout)
        if event is None:
            # The rest of the log, for whoever reports why.
            self._child.wait()
            self._readers[1].join(timeout=5)
        return event

    def log(self, lines: Optional[int] = None) -> str:
        """The last lines that it logged, all that are kept unless told how many."""
        kept = list(self._lines)
        return "\n".join(kept if lines is None else kept[max(len(kept) - lines, 0) :])

    def stop(self) -> int:
        """Has it stop, kills it if it does not, and gives its exit code."""
        with self._stopping:
            if self._child.poll() is None:
                self._child.terminate()
                try:
                    self._child.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    self._child.kill()
                    self._child.wait()
            for reader in self._readers:
                reader.join(timeout=5)
            for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
                if pipe is not None:
                    pipe.close()
            return self._child.returncode

    def _read_events(self, pipe: IO[bytes]) -> None:
        is_first = True
        for line in pipe:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if not isinstance(event, dict):
                continue
            if is_first:
                is_first = False
                self._first.put(event)
            self._on_event(event)
        if is_first:
            self._first.put(None)

    def _read_log(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))
