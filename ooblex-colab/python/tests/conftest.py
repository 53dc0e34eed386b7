"""The real program, on free ports, away from the settings of this machine."""

import os
import time

import ooblex
import pytest


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("OOBLEX_") and name != "OOBLEX_BIN":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    left = ooblex.running()
    ooblex.stop_all()
    assert not left, "a test left a server running"


@pytest.fixture
def server():
    with ooblex.start(model="none", mjpeg_port=0) as server:
        yield server


def wait_for(what, condition, seconds=20):
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.02)
