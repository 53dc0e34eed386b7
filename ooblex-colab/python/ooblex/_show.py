"""Showing the page."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._server import Server


def show(server: "Server", height: int) -> None:
    """In the cell on Colab and in notebooks; elsewhere prints the URL."""
    if on_colab():
        from . import _colab

        _colab.show(server, height)
        return
    if in_notebook():
        from IPython.display import IFrame, display

        display(IFrame(server.urls.page, width="100%", height=height, allow="camera; fullscreen; autoplay"))
    print(server.urls.page)


def on_colab() -> bool:
    """Whether this is a runtime of Colab."""
    try:
        return importlib.util.find_spec("google.colab") is not None
    except (ImportError, ValueError):
        return False


def in_notebook() -> bool:
    """Whether a notebook shows what is displayed here; IPython in a terminal does not."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")
