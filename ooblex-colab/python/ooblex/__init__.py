"""Ooblex from Python: starts the server, shows it, and switches its effects.

>>> import ooblex
>>> with ooblex.start(model="edge_detection", mjpeg_port=0) as server:   # doctest: +SKIP
...     print(server.urls.page)
...     server.set_effect("sepia")

The server is the program ``ooblex-colab`` that comes with this package. It ends with this process, whatever happens to it.
"""

from ._config import ColabConfig, DemoConfig
from ._errors import OoblexError, RequestError, StartError
from ._program import program
from ._server import Server, Urls, running, start, stop_all

__all__ = [
    "ColabConfig",
    "DemoConfig",
    "OoblexError",
    "RequestError",
    "Server",
    "StartError",
    "Urls",
    "program",
    "running",
    "start",
    "stop_all",
]
