"""Pictures go in and come out processed, with the models that the wheel brings."""

import json
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path

import ooblex
import pytest
from conftest import wait_for

# A person, 512 pixels square.
PICTURE = Path(__file__).parents[3] / "ooblex-models/tests/golden/models/astronaut.png"


def size_of_jpeg(data):
    """Width and height, from the frame header (ITU-T T.81, B.2.2)."""
    assert data[:2] == b"\xff\xd8"
    at = 2
    while True:
        marker, length = struct.unpack(">xBH", data[at : at + 4])
        if marker in (0xC0, 0xC2):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length


def processed(server, effect):
    """The picture with the effect, by a stream of its own."""
    server.set_effect(effect)

    def newest():
        server.upload(PICTURE.read_bytes(), stream=effect)
        try:
            return server.snapshot(effect)
        except ooblex.RequestError as error:
            assert error.status == 503, error
            return None

    return wait_for(f"a picture with {effect}", newest)


def test_effects_change_pictures_and_keep_their_size(server):
    plain = processed(server, "none")
    width, height = struct.unpack(">II", PICTURE.read_bytes()[16:24])
    pictures = {effect: processed(server, effect) for effect in ("edge_detection", "sepia", "face_detection")}
    for effect, picture in pictures.items():
        assert size_of_jpeg(picture) == (width, height), effect
    assert len({plain, *pictures.values()}) == 4, "all of them differ"


@pytest.mark.parametrize("effect, label", [("face_detection", "face"), ("object_detection", "person")])
def test_models_find_what_is_there(server, effect, label):
    processed(server, effect)

    def found():
        server.upload(PICTURE.read_bytes(), stream=effect)
        answer = urllib.request.urlopen(f"{server.urls.base}streams/{effect}/annotations")
        return [item for item in json.load(answer)["items"] if item.get("label") == label]

    assert wait_for(f"a {label}", found)[0]["score"] > 0.5


def test_every_model_that_comes_with_the_wheel_is_whole():
    verify = [sys.executable, "-m", "ooblex", "models", "verify"]
    verified = subprocess.run(verify, stdout=subprocess.PIPE, text=True)
    assert verified.returncode == 0, verified.stdout
    for model in ("blazeface_short_128", "nanodet_g_416", "movenet_lightning_192"):
        assert model in verified.stdout
