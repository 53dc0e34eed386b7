#!/usr/bin/env python3
"""Makes src/warmth.onnx: how warm or cool a picture's colours are. Needs the PyPI packages onnx and numpy.

A network of two layers with weights chosen by hand: a convolution that compares red with blue, and the softmax of its
means over the picture. It stands for a model of your own.
"""
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

SIDE = 64

# For red, green and blue: warm is more red than blue, cool the other way round.
weights = np.array([[10, 0, -10], [-10, 0, 10]], dtype=np.float32).reshape(2, 3, 1, 1)
nodes = [
    # Attributes that have defaults are spelled out: not every runtime knows the defaults.
    helper.make_node("Conv", ["image", "weights"], ["compared"], kernel_shape=[1, 1], strides=[1, 1], pads=[0] * 4),
    helper.make_node("GlobalAveragePool", ["compared"], ["means"]),
    helper.make_node("Flatten", ["means"], ["logits"], axis=1),
    helper.make_node("Softmax", ["logits"], ["shares"], axis=1),
]
graph = helper.make_graph(
    nodes,
    "warmth",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
    [helper.make_tensor_value_info("shares", TensorProto.FLOAT, ["batch", 2])],
    [numpy_helper.from_array(weights, "weights")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
checker.check_model(model)
(Path(__file__).parent / "src" / "warmth.onnx").write_bytes(model.SerializeToString())
