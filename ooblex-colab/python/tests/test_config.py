"""Names of settings, and where the page is shown."""

import sys
import types

import ooblex
import pytest
from ooblex._config import invocation, merged


def test_names_of_the_plan_and_of_the_demo_are_taken():
    assert merged(ooblex.ColabConfig(), {}) == {
        "webrtc_port": 8443,
        "mjpeg_port": 8081,
        "frame_queue_size": 30,
        "jpeg_quality": 85,
        "target_fps": 30,
        "model_name": "face_detection",
        "use_gpu": True,
    }
    assert merged(ooblex.DemoConfig(), {}) == {
        "mjpeg_port": 8080,
        "jpeg_quality": 85,
        "target_fps": 30,
        "model_name": "none",
    }
    # What was given goes before; what is None was not given.
    assert merged(ooblex.DemoConfig(), {"model": "sepia", "tunnel": None, "port": 0})["model_name"] == "sepia"
    assert merged(None, {"port": 0, "max_fps": 10}) == {"mjpeg_port": 0, "target_fps": 10}


def test_what_is_given_twice_or_does_nothing_is_told():
    with pytest.raises(TypeError, match="mjpeg_port was given twice, once as port"):
        merged(None, {"mjpeg_port": 1, "port": 2})
    with pytest.warns(UserWarning, match="frame_width=1280 has no effect"):
        merged(ooblex.DemoConfig(frame_width=1280), {})
    with pytest.raises(TypeError, match="name of a provider"):
        ooblex.start(tunnel=True)


def test_everything_but_sources_goes_by_variables(tmp_path):
    arguments, variables = invocation(
        {
            "use_gpu": False,
            "jpeg_quality": 70,
            "source": ["a=pattern", "b=pattern"],
            "model_dir": tmp_path,
            "pin": ["nanodet_g_416", "centerface"],
            "turn": ["turn:a.example:3478,user,secret", "vdo-ninja"],
            "control_token": "secret-secret-secret",
        }
    )
    assert arguments == ["--source=a=pattern", "--source=b=pattern"]
    assert variables == {
        "OOBLEX_USE_GPU": "false",
        "OOBLEX_JPEG_QUALITY": "70",
        "OOBLEX_MODEL_DIR": str(tmp_path),
        "OOBLEX_PIN": "nanodet_g_416,centerface",
        "OOBLEX_TURN": "turn:a.example:3478,user,secret vdo-ninja",
        "OOBLEX_CONTROL_TOKEN": "secret-secret-secret",
    }


def test_settings_of_every_kind_reach_the_server():
    with ooblex.start(config=ooblex.ColabConfig(), webrtc_port=0, port=0, use_gpu="off", source="test=pattern") as server:
        assert [stream["id"] for stream in server.status()["streams"]] == ["test"]
        assert server.health()["accelerator"]["requested"] == "off"


def test_elsewhere_the_url_is_printed(server, capsys):
    server.show()
    assert capsys.readouterr().out == server.urls.page + "\n"


def test_a_notebook_shows_the_page_in_the_cell(server, monkeypatch, capsys):
    shown = []
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    display.IFrame = lambda url, **more: (url, more["height"])
    display.display = shown.append
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    server.show(height=300)
    assert shown == [(server.urls.page, 300)]
    assert server.urls.page in capsys.readouterr().out
    # IPython in a terminal shows nothing.
    ipython.get_ipython = lambda: types.SimpleNamespace()
    server.show()
    assert len(shown) == 1
