"""A notebook on Colab, as far as a browser sees it: a kernel with a server, and the output of the cell that shows it.

    notebook.py

Prints the port of the server and its own. Its page takes the address that stands for Colab's port proxy from `?proxy=`. The
kernel does one thing at a time, as kernels do; `POST /cell` keeps it busy until `POST /cell/end`.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "shim"), str(HERE.parents[1] / "ooblex-colab/python")]

import IPython.display  # noqa: E402
import ooblex  # noqa: E402
from google.colab import output  # noqa: E402

PAGE = """<!doctype html><meta charset="utf-8"><title>A notebook</title><script>
const google = { colab: { kernel: {
  proxyPort: async (port) => new URLSearchParams(location.search).get("proxy"),
  invokeFunction: async (name, args) => {
    window.invoked = (window.invoked ?? 0) + 1;
    const response = await fetch("/invoke", { method: "POST", body: JSON.stringify([name, args]) });
    if (!response.ok) throw new Error(await response.text());
    return response.json();
  },
} } };
</script><body>%s</body>"""

displayed = []
IPython.display.display = displayed.append
kernel = threading.Lock()
cell_ends = threading.Event()


def run_cell(started):
    with kernel:
        started.set()
        cell_ends.wait()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, (PAGE % displayed[-1].data).encode(), "text/html; charset=utf-8")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/cell":
            cell_ends.clear()
            started = threading.Event()
            threading.Thread(target=run_cell, args=(started,), daemon=True).start()
            started.wait()
            return self.answer(200, b"")
        if self.path == "/cell/end":
            cell_ends.set()
            return self.answer(200, b"")
        try:
            with kernel:
                answer = output.invoke(*json.loads(body))
        except Exception as error:  # noqa: BLE001: as the kernel, whatever it is
            return self.answer(500, repr(error).encode())
        return self.answer(200, json.dumps(answer).encode(), "application/json")

    def answer(self, status, body, kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ooblex.start(model="grayscale", mjpeg_port=0)
server.show(height=800)
notebook = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.urls.base.rstrip("/").rsplit(":", 1)[1], notebook.server_address[1], flush=True)
threading.Thread(target=notebook.serve_forever, daemon=True).start()
# Ends with whoever started it.
sys.stdin.read()
server.stop()
