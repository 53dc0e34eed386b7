#!/usr/bin/env python3
"""Times the models by ONNX Runtime alone, without Ooblex, as the measure for our engines.

usage: bench_engines.py [SECONDS] [MODEL...]

One thread, no spinning, noise in (zeros would be faster), everything else as ONNX Runtime comes; batches of 1, 4 and 16 where the model has an
open first dimension. On a GPU as well if ONNX Runtime finds one, whose name is printed. Prints for each the least and
the median time in milliseconds and how many pictures a second the least is. Compare with
`cargo bench -p ooblex-models --bench engines` in the same minute, and compare the least: medians are other programs'.

Needs the PyPI packages onnxruntime (or onnxruntime-gpu) and numpy; `.venv` of the tests has them.
"""
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

WEIGHTS = Path(__file__).parent.parent / "ooblex-models/weights"
# Sizes for open dimensions after the first, as in the Rust benchmark.
OPEN = {"style_multistyle26": [240, 320], "centerface": [320, 320]}


def session(model, provider):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(model), options, providers=[provider])


def inputs(session, name, batch):
    given = {}
    for value in session.get_inputs():
        sides = iter(OPEN.get(name, []))
        shape = []
        for index, side in enumerate(value.shape):
            if isinstance(side, int):
                shape.append(side)
            else:
                shape.append(batch if index == 0 else next(sides))
        noise = np.random.default_rng(7).random(shape, np.float32)
        given[value.name] = (noise * 255).astype(np.int32) if "int32" in value.type else noise
    return given


def measure(run, seconds):
    for _ in range(5):
        run()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 10:
        begin = time.perf_counter()
        run()
        times.append((time.perf_counter() - begin) * 1e3)
    return min(times), statistics.median(times)


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    names = sys.argv[2:] or sorted(path.stem for path in WEIGHTS.glob("*.onnx"))
    providers = ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.append("CUDAExecutionProvider")
        print(subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True).stdout.strip())
    print(f"onnxruntime {onnxruntime.__version__}")
    print(f"{'model':26} {'on':6} {'batch':>5} {'least_ms':>9} {'median_ms':>9} {'per_s':>8}")
    for name in names:
        for provider in providers:
            loaded = session(WEIGHTS / f"{name}.onnx", provider)
            on = loaded.get_providers()[0].removesuffix("ExecutionProvider").lower()
            for batch in [1, 4, 16]:
                if batch > 1 and isinstance(loaded.get_inputs()[0].shape[0], int):
                    continue
                given = inputs(loaded, name, batch)
                least, median = measure(lambda: loaded.run(None, given), seconds)
                print(f"{name:26} {on:6} {batch:5} {least:9.3f} {median:9.3f} {batch / least * 1e3:8.1f}", flush=True)


if __name__ == "__main__":
    main()
