"""Starting, steering and stopping."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import ooblex
import pytest
from conftest import wait_for

CONTROL = "control-token-0123456789"
VIEW = "view-token-0123456789-ab"


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_server_is_there_at_once_and_gone_after_the_block():
    with ooblex.start(mjpeg_port=0) as server:
        assert ooblex.running() == [server] and server.is_running
        assert server.health()["status"] == "healthy"
        assert server.status()["effect"] == "face_detection"
        base = server.urls.base
        assert (server.urls.page, server.urls.stream) == (base, base + "stream.mjpg")
        assert server.urls.view == base + "view" and server.urls.whip == base + "whip"
        assert server.version == server.health()["version"]
        assert urllib.request.urlopen(server.urls.page).status == 200
    assert not server.is_running and not alive(server.pid)
    assert server.stop() == 0, "stopped cleanly, and once more does nothing"
    assert [event["event"] for event in server.events()] == ["ready", "stopped"]
    with pytest.raises(ooblex.StartError, match="has stopped .exit code 0."):
        server.status()


def test_effects_are_switched_and_unknown_ones_refused_with_those_that_are_known(server):
    assert server.set_effect("sepia")["effect"] == "sepia"
    assert server.set_effect(["blur", "edge_detection"], {"edge_detection": {"low": 50}})["effect"] == "blur|edge_detection"
    with pytest.raises(ooblex.RequestError, match="sepiaa.*known are .*sepia") as refused:
        server.set_effect("sepiaa")
    assert (refused.value.status, refused.value.code) == (404, "unknown_effect")
    with pytest.raises(ooblex.RequestError) as refused:
        server.set_effect("edge_detection", {"edge_detection": {"low": 5000}})
    assert (refused.value.status, refused.value.problem["value"]) == (422, 5000)
    with pytest.raises(ooblex.RequestError) as refused:
        server.set_effect("sepia", stream="nobody")
    assert (refused.value.status, refused.value.code) == (404, "unknown_stream")
    with pytest.raises(ooblex.RequestError, match="nobody/../x") as refused:
        server.set_effect("sepia", stream="nobody/../x")
    assert refused.value.status == 400
    assert server.status()["effect"] == "blur|edge_detection", "the last good one goes on"
    assert "sepia" in server.effects()


def test_a_server_goes_on_where_the_one_before_ended(tmp_path):
    kept = {"mjpeg_port": 0, "model": "none", "checkpoint_dir": tmp_path / "kept"}
    with ooblex.start(**kept) as server:
        assert server.resumed is None
        server.set_effect("sepia")
    with ooblex.start(**kept, resume=True) as server:
        assert server.resumed["effect"] == "sepia" and server.warnings == []
        assert server.status()["effect"] == "sepia", "what was chosen goes before the setting"
        os.kill(server.pid, 9)
        wait_for("its end", lambda: not server.is_running)
    with ooblex.start(**kept, session_limit=10) as server:
        assert (server.resumed, server.status()["effect"]) == (None, "none")
        [event] = wait_for("the session's end", lambda: server.events("session"))
        assert event["minutes_left"] == 10


def test_wrong_settings_are_told_with_the_fix():
    with pytest.raises(ooblex.StartError, match="101.*100") as refused:
        ooblex.start(mjpeg_port=0, jpeg_quality=101)
    assert refused.value.exit_code == 2 and "101" in refused.value.logs
    with pytest.raises(ooblex.StartError, match="OOBLEX_JPEG_QALITY.*OOBLEX_JPEG_QUALITY"):
        ooblex.start(mjpeg_port=0, jpeg_qality=80)
    with pytest.raises(ooblex.StartError, match="sepiaa"):
        ooblex.start("sepiaa", mjpeg_port=0)


def test_a_port_in_use_is_told_with_who_has_it(server):
    port = int(server.urls.base.rstrip("/").rpartition(":")[2])
    with pytest.raises(ooblex.StartError, match=f"{port}.*in use(.|\n)*ooblex.stop_all.*mjpeg_port=0") as refused:
        ooblex.start(mjpeg_port=port)
    assert refused.value.exit_code == 1
    assert ooblex.running() == [server]


def test_tokens_reach_the_server_by_no_argument_and_are_sent_with_every_request():
    with ooblex.start(mjpeg_port=0, model="none", control_token=CONTROL, view_token=VIEW) as server:
        arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes().decode()
        for text in (arguments, repr(server), server.logs(), repr(server.events())):
            assert CONTROL not in text and VIEW not in text
        assert server.set_effect("sepia")["effect"] == "sepia"
        link = server.tokens["link"]
        assert server.tokens == {"control": CONTROL, "view": VIEW, "link": link}
        assert server.urls.page == f"{server.urls.base}t/{CONTROL}/"
        assert server.urls.stream.endswith(f"?token={link}")
        assert urllib.request.urlopen(server.urls.view).status == 200
        assert urllib.request.urlopen(server.urls.page).status == 200
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(server.urls.base + "status")
        assert refused.value.code == 401


def test_the_strongest_token_that_there_is_serves():
    # Without a control token that of publishers gives the right to change effects.
    with ooblex.start(mjpeg_port=0, model="none", publish_token=CONTROL) as server:
        assert server.set_effect("sepia")["effect"] == "sepia"


CHILD = """
import sys, time
import ooblex
server = ooblex.start(model="none", mjpeg_port=0)
print(server.pid, flush=True)
if sys.argv[1] == "wait":
    time.sleep(600)
"""


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_the_server_ends_with_the_process_that_started_it(how):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, "wait" if how == "killed" else "end"], stdout=subprocess.PIPE, text=True
    )
    try:
        pid = int(child.stdout.readline())
        if how == "killed":
            assert alive(pid)
            child.kill()
        assert child.wait(30) == (-9 if how == "killed" else 0)
        wait_for("the server to end", lambda: not alive(pid))
    finally:
        child.kill()
        child.stdout.close()


def test_starting_needs_no_patched_event_loop():
    async def cell():
        with ooblex.start(model="none", mjpeg_port=0) as server:
            await asyncio.sleep(0)
            return server.health()["status"]

    assert asyncio.run(cell()) == "healthy"


def test_a_program_that_says_nothing_is_given_up(monkeypatch, tmp_path):
    silent = tmp_path / "silent"
    silent.write_text(f"#!/bin/sh\necho starting to think >&2\nexec {sys.executable} -c 'import time; time.sleep(600)'\n")
    silent.chmod(0o755)
    monkeypatch.setenv("OOBLEX_BIN", str(silent))
    with pytest.raises(ooblex.StartError, match="not ready within 1 seconds(.|\n)*starting to think"):
        ooblex.start(timeout=1)


def test_a_program_that_is_not_there_is_told_with_what_brings_it(monkeypatch):
    monkeypatch.setenv("OOBLEX_BIN", "/nowhere/ooblex-colab")
    with pytest.raises(ooblex.OoblexError, match="/nowhere/ooblex-colab"):
        ooblex.start()


def test_logs_can_be_read():
    with ooblex.start(model="none", mjpeg_port=0, log_format="json") as server:
        pass
    lines = [json.loads(line)["message"] for line in server.logs().splitlines()]
    assert lines[-1] == "stopped" and any(line.startswith("stopping") for line in lines)
    assert json.loads(server.logs(1))["message"] == "stopped"


def test_python_runs_the_program():
    shown = subprocess.run([sys.executable, "-m", "ooblex", "--version"], stdout=subprocess.PIPE, text=True, check=True)
    assert shown.stdout.startswith("ooblex-colab ")
    assert os.access(ooblex.program(), os.X_OK)


def test_events_are_lines_of_json(server):
    assert server.events("ready")[0]["urls"]["base"] == server.urls.base
    assert server.events("tunnel") == [] and server.tunnel is None
    json.dumps(server.events())
