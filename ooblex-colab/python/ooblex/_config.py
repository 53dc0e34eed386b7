"""Settings as keyword arguments, and how they reach the program."""

from __future__ import annotations

import dataclasses
import os
import warnings
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union


@dataclass
class ColabConfig:
    """The settings of the deployment plan, with its names and defaults."""

    webrtc_port: int = 8443
    mjpeg_port: int = 8081
    frame_queue_size: int = 30
    jpeg_quality: int = 85
    target_fps: int = 30
    model_name: str = "face_detection"
    use_gpu: bool = True


@dataclass
class DemoConfig:
    """The settings of the Python demo, with its names and defaults.

    ``frame_width`` and ``frame_height`` were the size of its test picture. Here pictures keep the size in which they arrive,
    so other values than these bring a warning.
    """

    port: int = 8080
    jpeg_quality: int = 85
    max_fps: int = 30
    frame_width: int = 640
    frame_height: int = 480
    default_effect: str = "none"


Config = Union[ColabConfig, DemoConfig]

# Names of the Python demo, and those of the server.
_RENAMED = {"port": "mjpeg_port", "max_fps": "target_fps", "default_effect": "model_name", "model": "model_name"}
_FIXED_SIZE = {"frame_width": 640, "frame_height": 480}
# Lists whose items contain commas are separated by blanks.
_BY_BLANKS = {"ice_server", "turn"}


def merged(config: Optional[Config], given: Mapping[str, Any]) -> Dict[str, Any]:
    """The settings of ``config`` and, before them, those that were given, under the server's names. ``None`` is not given.

    Raises ``TypeError`` if one is given under two names.
    """
    settings: Dict[str, Any] = {}
    if config is not None:
        settings.update(_renamed(dataclasses.asdict(config)))
    settings.update(_renamed(given))
    return settings


def _renamed(given: Mapping[str, Any]) -> Dict[str, Any]:
    settings: Dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name in _FIXED_SIZE:
            if value != _FIXED_SIZE[name]:
                warnings.warn(f"{name}={value} has no effect: pictures keep the size in which they arrive", stacklevel=4)
            continue
        server_name = _RENAMED.get(name, name)
        if server_name in settings:
            raise TypeError(f"{server_name} was given twice, once as {name}")
        settings[server_name] = value
    return settings


def invocation(settings: Mapping[str, Any]) -> Tuple[List[str], Dict[str, str]]:
    """Arguments and variables for the program.

    Everything goes by variables, which other users of the machine cannot read, since some settings are secrets. Sources
    alone are taken by the command line only.
    """
    arguments: List[str] = []
    variables: Dict[str, str] = {}
    for name, value in settings.items():
        if name == "source":
            sources = [value] if isinstance(value, str) else list(value)
            arguments += [f"--source={source}" for source in sources]
        else:
            variables["OOBLEX_" + name.upper()] = _text(name, value)
    return arguments, variables


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple, set)):
        return (" " if name in _BY_BLANKS else ",").join(_text(name, item) for item in value)
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
