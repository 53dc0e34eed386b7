#!/usr/bin/env python3
"""Makes ooblex-models/weights from the verified models.

usage: make_weights.py VERIFIED_FOLDER [ooblex-models/weights]

Copies the files that the engines load. ONNX models with a first dimension of 1 that nothing inside depends on get a
symbolic first dimension `batch`, so that accelerators can run several pictures at once: the shapes of inputs and
outputs are relabelled, and constant shapes of Reshape nodes take their first dimension from the input (0 means that in
ONNX). No weight changes; outputs differ by at most 1e-5, which is checked here. Prints the table of sizes and
SHA-256 sums that ooblex-models/src/manager/catalog.rs holds.

Needs the PyPI packages onnx, onnxruntime and numpy.
"""
import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

# Name here, name there, whether the first dimension can be relabelled.
ONNX = [
    ("blazeface_short_128", "blazeface_short_128_nchw", True),
    ("selfie_landscape_144x256", "selfie_landscape_144x256_nchw", True),
    ("selfie_general_256", "selfie_general_256_nchw", True),
    # Every picture of a batch would get the same style.
    ("style_multistyle26", "style_multistyle26", False),
    ("centerface", "centerface_dyn", True),
    ("nanodet_g_416", "nanodet_g_416", True),
    # Indices inside are computed for one picture.
    ("movenet_lightning_192", "movenet_lightning_192", False),
    ("facemesh468_192", "facemesh468_192", True),
    ("emotion_minixception_64", "emotion_minixception_64", True),
]
OTHER_ENGINES = ["blazeface_short_128", "selfie_landscape_144x256", "selfie_general_256", "style_multistyle26"]


def batchable(path):
    model = onnx.load(path)
    constants = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            shape = numpy_helper.to_array(constants[node.input[1]]).copy()
            if shape[0] == 1:
                shape[0] = 0
                constants[node.input[1]].CopyFrom(numpy_helper.from_array(shape, node.input[1]))
    for value in [*model.graph.input, *model.graph.output]:
        if value.name not in constants:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    # Shapes that were inferred for a batch of 1.
    del model.graph.value_info[:]
    return model.SerializeToString()


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def check(original, changed, name):
    original, changed = session(original), session(changed)
    shape = [side if isinstance(side, int) else 96 for side in original.get_inputs()[0].shape]
    pictures = np.random.default_rng(7).random((3, *shape[1:]), dtype=np.float32)
    before = original.run(None, {"image": pictures[:1]})
    single = changed.run(None, {"image": pictures[:1]})
    batch = changed.run(None, {"image": pictures})
    for a, b, c in zip(before, single, batch):
        assert np.allclose(a, b, atol=1e-5), f"{name}: a batch of 1 gives other numbers"
        assert np.allclose(a, c[:1], atol=1e-4), f"{name}: a batch gives other numbers"


def main():
    source = Path(sys.argv[1])
    target = Path(sys.argv[2] if len(sys.argv) > 2 else "ooblex-models/weights")
    target.mkdir(parents=True, exist_ok=True)
    for name, original, change in ONNX:
        data = (source / f"{original}.onnx").read_bytes()
        if change:
            changed = batchable(source / f"{original}.onnx")
            check(data, changed, name)
            data = changed
        (target / f"{name}.onnx").write_bytes(data)
    for name in OTHER_ENGINES:
        for extension in ["safetensors", "graph.json"]:
            shutil.copyfile(source / "candle" / f"{name}.{extension}", target / f"{name}.{extension}")
        shutil.copyfile(source / "torchscript" / f"{name}.pt", target / f"{name}.pt")
    (target / "licenses").mkdir(exist_ok=True)
    for text in sorted((source / "licenses").iterdir()):
        shutil.copyfile(text, target / "licenses" / text.name)
    for path in sorted(p for p in target.iterdir() if p.suffix in {".onnx", ".safetensors", ".json", ".pt"}):
        data = path.read_bytes()
        print(f"{path.name:40} {len(data):9} {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
