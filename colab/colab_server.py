"""The deployment plan's names for the package `ooblex`: `server = OoblexColabServer(); await server.start()`."""

from typing import Optional

import ooblex
from ooblex import ColabConfig

__all__ = ["ColabConfig", "OoblexColabServer"]


class OoblexColabServer:
    """A server that is started later. `server` is the `ooblex.Server`, once it has been."""

    def __init__(self, config: Optional[ColabConfig] = None) -> None:
        self.config = config or ColabConfig()
        self.server: Optional[ooblex.Server] = None

    async def start(self) -> ooblex.Server:
        """Starts it in the background, prints where it is, and shows the page."""
        if self.server is None or not self.server.is_running:
            self.server = ooblex.start(config=self.config)
        print("MJPEG Stream:", self.server.urls.stream)
        print("Snapshot:", self.server.urls.snapshot)
        self.server.show()
        return self.server

    async def stop(self) -> None:
        """Stops it; once more does nothing."""
        if self.server is not None:
            self.server.stop()
