"""Calibrating on more pictures takes no more memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.graph.model import save_model

STATUS = Path("/proc/self/status")
# In a fresh interpreter: a child's peak counts what its parent had when it was forked.
CODE = """
import sys
from pathlib import Path

import numpy as np

from edgecnn.core.recipe import QuantizePart
from edgecnn.graph.model import load_model
from edgecnn.graph.prepare import infer_shapes, run_passes
from edgecnn.quantize.network import calibrate_network

model = load_model(Path(sys.argv[1]))
run_passes(model, (infer_shapes,))


def feeds(purpose, most=None):
    draw = np.random.default_rng(1)
    count = min(most or 2000, int(sys.argv[2]))
    return ({"x": draw.laplace(size=(1, 3, 32, 32)).astype(np.float32)} for _ in range(count))


found = calibrate_network(model, feeds, QuantizePart(observer="auto"))
assert len(found.roundings) == 3
for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmHWM:"):
        print(line.split()[1])
"""
TEXT = """net (float[1, 3, 32, 32] x) => (float[1, 8, 32, 32] y) {
    [first] a = Conv<pads = [1, 1, 1, 1]>(x, w)
    b = Relu(a)
    [second] c = Conv<pads = [1, 1, 1, 1], group = 16>(b, v)
    d = Relu(c)
    [third] y = Conv(d, u)
}"""
SHAPES = {"w": (16, 3, 3, 3), "v": (16, 1, 3, 3), "u": (8, 16, 1, 1)}
# All frames would be 22,000 kB more, the activations of a layer 118,000. What an allocator adds by itself:
NOISE_KB = 3_000


def peak_kb(network: Path, frames: int) -> int:
    """The most memory that a process had while it calibrated on so many frames; of three, what one can do with."""
    command = [sys.executable, "-c", CODE, str(network), str(frames)]
    found: list[int] = []
    for _ in range(3):  # threads that allocate at the same moment get arenas of their own, now and then
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.append(int(done.stdout))
    return min(found)


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="the kernel does not report peaks of memory here")
def test_two_thousand_pictures_take_the_memory_of_a_hundred(graph_of: Callable[..., Any], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    save_model(graph_of(TEXT, **weights), tmp_path / "net.onnx")

    hundred, two_thousand = (peak_kb(tmp_path / "net.onnx", frames) for frames in (100, 2000))

    assert two_thousand <= hundred + NOISE_KB
