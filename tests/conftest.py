"""What tests of several kinds share: profiles with chosen latencies, small networks, and a browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings

from edgecnn.profiling.records import Conditions, Environment, LayerTime, Profile, Round

# CI tries the same cases every time; at a desk every run tries new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

ProfileOf = Callable[..., Profile]
GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, npt.NDArray[Any]]]

_BROWSER_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture
def profile_of() -> ProfileOf:
    """A maker of profiles whose times from frame to result are the given ones, nanoseconds."""

    def make(total_ns: Sequence[int], **changes: Any) -> Profile:
        frames = len(total_ns)
        # Two constant stages, so that every statistic of infer is the total's less a known constant.
        samples = {
            "preprocess": (1000,) * frames,
            "infer": tuple(int(time) - 1500 for time in total_ns),
            "decode": (500,) * frames,
        }
        starts = np.concatenate([[0], np.cumsum(np.asarray(total_ns, np.int64))[:-1]])
        taken = Round(process=0, begin_ns=10**9, warm_up=50, starts_ns=starts.tolist(), samples_ns=samples)
        environment = Environment(
            machine="NVIDIA Jetson Orin Nano",
            architecture="aarch64",
            system="Linux 5.15.148-tegra",
            cores=6,
            memory_bytes=8 * 2**30,
            l4t="36.4.3",
            power_mode="25W",
            packages={"numpy": "1.26.4", "tensorrt": "10.3.0"},
        )
        conditions = Conditions(
            taken_at="2025-11-22T10:48:12+00:00",
            load_average=0.25,
            governor=None,
            clocks_mhz={},
            temperatures_celsius={},
            throttle_events={},
        )
        fields: dict[str, Any] = {
            "mode": "single-stream",
            "bundle": "leaves-int8",
            "model_sha256": "9f8c" * 16,
            "precision": "int8",
            "target": "orin-nano-8gb",
            "backend": "TensorRT 10.3",
            "threads": 2,
            "frame_hw": (1080, 1920),
            "input_shape": (1, 3, 224, 224),
            "rounds": (taken,),
            "layers": tuple(
                LayerTime(name=f"/features/{index}/Conv", op_type="Conv", calls=frames, mean_ns=50e3, part=0.025)
                for index in range(40)
            ),
            "warnings": (),
            "environment": environment,
            "before": conditions,
            "after": conditions,
        }
        return Profile(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def averaging_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file from ``input``, float32 (1, 3, 8, 8), to ``output``, (1, 3): twice each channel's mean."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        make.make_node("GlobalAveragePool", ["input"], ["means"], name="average"),
        make.make_node("Flatten", ["means"], ["flat"], name="flatten"),
        make.make_node("Mul", ["flat", "two"], ["output"], name="double"),
    ]
    graph = make.make_graph(
        nodes,
        "averaging",
        [make.make_tensor_value_info("input", kind, [1, 3, 8, 8])],
        [make.make_tensor_value_info("output", kind, [1, 3])],
        [make.make_tensor("two", kind, [1], [2.0])],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("averaging") / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def graph_of() -> GraphOf:
    """A maker of onnx-ir models from ONNX's text form, with the named arrays as weights, and with shapes inferred.

    The text is one of a graph: ``net (float[1, 3] x) => (float[1, 3] y) { y = Add(x, w) }``.
    """
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
    import onnx_ir

    from edgecnn.graph.prepare import infer_shapes

    def make(text: str, opset: int = 18, **weights: Any) -> Any:
        proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]>\n{text}')
        for name, array in weights.items():
            proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        model = onnx_ir.from_proto(proto)
        infer_shapes(model)
        return model

    return make


@pytest.fixture(scope="session")
def outputs_of() -> OutputsOf:
    """Runs an onnx-ir model, which onnx must find valid, in ONNX Runtime as it stands: arrays by output name."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
    import onnx_ir

    from edgecnn.backends.ort import OrtSession

    def run(model: Any, **feeds: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        proto = onnx_ir.to_proto(model)
        onnx.checker.check_model(proto, full_check=True)
        return OrtSession(proto.SerializeToString(), threads=1, optimize=False).run(feeds)

    return run


_BUILD = """
import os, sys
from pathlib import Path
from edgecnn.backends import build_child, trt_build
from edgecnn.core.engine import BuildOptions
trt = build_child.load_compiler("tensorrt_rtx")
try:
    built = trt_build.build_plan(trt, Path(sys.argv[1]), BuildOptions(), capability="SM86")
    Path(sys.argv[2]).write_bytes(built.plan)
except trt_build.EdgecnnError:
    pass
os._exit(0)
"""


@pytest.fixture
def rtx_layers(tmp_path: Path) -> Callable[[Any], dict[str, tuple[str, str]] | None]:
    """Compiles an onnx-ir model with TensorRT-RTX, for no GPU that is there.

    Gives the types of the two factors of each convolution and matrix product, by its name, from the plan, which has
    its graph as plain text; None where it refuses the model.
    """
    from edgecnn.backends.compiler_module import rtx_is_installed

    if not rtx_is_installed():
        pytest.skip("TensorRT-RTX is not installed: pip install 'edgecnn[preflight]'")

    def compiled(model: Any) -> dict[str, tuple[str, str]] | None:
        from edgecnn.graph.model import model_bytes

        (tmp_path / "rtx.onnx").write_bytes(model_bytes(model))
        (tmp_path / "plan").unlink(missing_ok=True)
        command = [sys.executable, "-c", _BUILD, str(tmp_path / "rtx.onnx"), str(tmp_path / "plan")]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        if not (tmp_path / "plan").exists():
            return None
        text = (tmp_path / "plan").read_bytes().decode("latin1")
        types = dict(re.findall(r'tensor=\{[^\n]*?name="([^"]+)"[^\n]*?type=(\w+) \}', text))
        pattern = r'\n  (?:corrltn|fully_connected)=\{ name="([^"]+)" output=\{[^}]*\} input=\{"([^"]+)" "([^"]+)"'
        return {name: (types[first], types[second]) for name, first, second in re.findall(pattern, text)}

    return compiled


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A headless Chromium with a profile of its own, driven by selenium; it keeps the console's messages."""
    selenium = pytest.importorskip("selenium", reason="selenium is not installed: pip install selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    # Submodules of selenium load on access.
    from selenium.webdriver.chrome.service import Service

    options = selenium.webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_BROWSER_FLAGS, f"--user-data-dir={tmp_path / 'browser'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = selenium.webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield started
    finally:
        started.quit()
