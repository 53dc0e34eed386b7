"""Runs the notebooks cell by cell, each cell twice, and checks what came of them (scripts/notebooks.sh).

    run_notebooks.py FOLDER WHEEL

FOLDER is for what they write. Without a WHEEL the package is expected on the path. Ends with a line that counts the cells.
"""

import ast
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "ooblex-colab/notebooks"
# Whatever shows it has leaked it.
CANARY = "2canary0ngrok0token0that0nobody0may0see"

PICTURE = """
import cv2, numpy as np, time
_picture = cv2.imencode(".jpg", np.full((120, 160, 3), (20, 40, 200), np.uint8))[1].tobytes()

def colour_of(upload, stream="probe", tries=100):
    '''What a red picture looks like when it has been processed: its largest difference between components.'''
    before = processed(stream)
    for _ in range(tries):
        upload(_picture)
        if processed(stream) >= before + 5:
            break
        time.sleep(0.05)
    shown = cv2.imdecode(np.frombuffer(server.snapshot(stream), np.uint8), cv2.IMREAD_COLOR)
    return int(np.ptp(shown[60, 80].astype(int)))

def processed(stream="probe"):
    return sum(known["processed"] for known in server.status()["streams"] if known["id"] == stream)
"""


class Notebook:
    """One notebook with a kernel of its own."""

    def __init__(self, name, folder):
        path = NOTEBOOKS / f"{name}.ipynb"
        self.document = nbformat.read(path, as_version=4)
        nbformat.validate(self.document)
        self.cells = [cell for cell in self.document.cells if cell.cell_type == "code"]
        for cell in self.cells:
            assert not cell.outputs and cell.execution_count is None, f"{path} is stored with outputs"
        assert "nest_asyncio" not in path.read_text(), f"{path} patches the loop"
        self.client = NotebookClient(self.document, timeout=240, kernel_name="python3", resources={"metadata": {"path": folder}})
        self.runs = 0
        self.printed = ""

    def __enter__(self):
        self.kernel = self.client.setup_kernel()
        self.kernel.__enter__()
        return self

    def __exit__(self, *error):
        self.kernel.__exit__(*error)

    def cell(self, title):
        return next(cell for cell in self.cells if title in cell.source)

    def run(self, title, twice=True, **form):
        """Runs the cell that contains `title`, with its form filled in, again, too, and gives what its last run printed."""
        cell = self.cell(title)
        for field, value in form.items():
            pattern = re.compile(rf"^{field} = .*?(?=  #@param|$)", re.MULTILINE)
            assert len(pattern.findall(cell.source)) == 1, f"the cell {title!r} has no field {field}"
            cell.source = pattern.sub(lambda _: f"{field} = {value}", cell.source)
        for _ in range(2 if twice else 1):
            text = self.execute(cell)
        return text

    def execute(self, cell):
        if cell not in self.document.cells:
            self.document.cells.append(cell)
        self.client.execute_cell(cell, self.document.cells.index(cell))
        self.runs += 1
        text = "".join(output.text for output in cell.outputs if output.output_type == "stream")
        self.printed += json.dumps(cell.outputs)
        return text

    def probe(self, expression, before=""):
        """The value of an expression in the kernel; `before` is run first."""
        text = self.execute(nbformat.v4.new_code_cell(f"{before}\nprint('PROBE', repr({expression}))"))
        return ast.literal_eval(text.rsplit("PROBE ", 1)[1])

    def html(self, title):
        """What the cell displayed."""
        return [output.data["text/html"] for output in self.cell(title).outputs if "text/html" in output.get("data", {})]


def same(what, found, wanted):
    assert found == wanted, f"{what}: {found!r}, not {wanted!r}"


def alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def main_notebook(folder, wheel):
    with Notebook("ooblex_colab", folder) as book:
        assert "GPU" in book.run("Look for a GPU")
        assert book.run("#@title Install", WHEEL=repr(wheel)).startswith("ooblex-colab "), "the program does not run"
        if wheel:
            where = book.probe("ooblex.__file__")
            assert where.startswith(sys.prefix), f"{where} is not what the notebook installed into {sys.prefix}"
        # Without Drive, and with it.
        assert "not mounted" in book.run("Mount Google Drive", DRIVE=f"Path({str(folder / 'drive')!r})")
        assert "are kept in" in book.run("Mount Google Drive", MOUNT_DRIVE="True")
        assert "token of ngrok is there" in book.run("#@title Settings", MODEL_NAME="'grayscale'", MJPEG_PORT="0")
        same("the token", book.probe("NGROK_TOKEN == " + repr(CANARY)), True)
        same("before the start", "run cell 5 first" in book.run("#@title Switch", EFFECT="'none'"), True)

        # Each start takes the place of the one before, and leaves the kernel free: it is asked while frames are processed.
        book.run("Start and show", twice=False)
        first = book.probe("server.pid")
        book.run("Start and show", twice=False)
        assert not alive(first), "the server of the first run goes on"
        same("servers", book.probe("[s.pid == server.pid for s in ooblex.running()]"), [True])
        same("the loop is as it was", book.probe("loop.is_running() and 'nest_asyncio' not in sys.modules and "
            "type(loop).run_until_complete.__module__.startswith(('asyncio.', 'uvloop'))",
            "import asyncio, sys\nloop = asyncio.get_running_loop()"), True)
        gray = book.probe("colour_of(lambda picture: server.upload(picture, 'probe'))", PICTURE)
        assert gray <= 6, f"grayscale left a difference of {gray}"
        first_count = book.probe("processed()")
        assert first_count >= 5, f"{first_count} frames were processed"
        assert "No tunnel" in book.run("Open a tunnel")

        # What the cell displays, and the kernel's side of it.
        [page] = book.html("Start and show")
        assert "proxyPort" in page and re.search(r'"nonce": "[\w-]{43}"', page), page[:500]
        same("the callback", book.probe("output.invoke(list(output.callbacks)[-1], ['POST', 'upload?stream=bridge', 'image/jpeg', "
            "base64.b64encode(_picture).decode()])['data']['application/json']['status']",
            "import base64\nfrom google.colab import output"), 200)
        same("its stream", book.probe("[s['id'] for s in server.status()['streams'] if s['id'] == 'bridge']"), ["bridge"])

        same("the effect", book.run("#@title Switch").splitlines()[0], "Now: none")
        red = book.probe("colour_of(lambda picture: server.upload(picture, 'probe'))")
        assert red > 100, f"after the switch the difference is {red}"
        assert book.probe("processed()") > first_count
        last = book.probe("server.pid")
        assert "Stopped" in book.run("#@title Stop")
        assert not alive(last), "the server goes on after the stop"
        assert "run cell 5 first" in book.run("#@title Switch")
        # With Drive it goes on where it ended, also one that was killed.
        assert "Goes on with the checkpoint" in book.run("Start and show", twice=False)
        same("the kept effect", book.probe("server.status()['effect']"), "none")
        book.probe("server.is_running", "import os\nos.kill(server.pid, 9)\nwhile server.is_running:\n    time.sleep(0.02)")
        assert "run cell 5 first" in book.run("#@title Switch")
        book.run("Start and show")
        last = book.probe("server.pid")
        assert CANARY not in book.printed, "the token of ngrok was shown"
    assert not alive(last), "the server outlives the kernel"
    return book.runs


def own_model(folder, wheel):
    with Notebook("own_model", folder) as book:
        book.run("#@title Install", WHEEL=repr(wheel))
        book.run("#@title The ONNX file")
        book.run("MANIFEST =")
        book.run("model_manifest=[MANIFEST]")
        red, blue = map(ast.literal_eval, re.findall(r"\[.*?\]", book.run("result =")))
        # Yellow over red, green over blue.
        assert red[1] > 0x20 + 40 and red[0] > red[2] + 60, f"red became {red}"
        assert blue[1] > 0x20 + 40 and blue[2] < 0xC0 - 40, f"blue became {blue}"
        book.run("stop_all()\nprint")
        crate = re.search(r"```rust\n(use ooblex_core.*?)\n```", "\n".join(cell.source for cell in book.document.cells), re.DOTALL)[1]
        assert crate in (ROOT / "examples/onnx-model/src/lib.rs").read_text(), "the crate is another one than examples/onnx-model"
    return book.runs


def main():
    out, wheel = Path(sys.argv[1]), sys.argv[2]
    os.environ["SHIM_SECRETS"] = json.dumps({"NGROK_AUTH_TOKEN": CANARY})
    runs = 0
    for notebook in (main_notebook, own_model):
        with tempfile.TemporaryDirectory(dir=out) as folder:
            runs += notebook(Path(folder), wheel)
    print(f"{runs} cells run")


if __name__ == "__main__":
    main()
