"""What is loaded when: each test asks a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numpy", "cv2", "onnx", "onnx_ir", "onnxruntime", "torch", "torchvision", "sklearn")
NOT_ON_DEVICE = ("torch", "torchvision", "onnx", "onnx_ir", "onnxscript", "sklearn")
EXTRAS = ("paho", "prometheus_client", "starlette", "uvicorn")
DEVICE_MODULES = (
    "edgecnn.errors",
    "edgecnn.core.artifact",
    "edgecnn.core.device",
    "edgecnn.core.recipe",
    "edgecnn.vision.decode",
    "edgecnn.vision.draw",
    "edgecnn.vision.images",
    "edgecnn.vision.preprocess",
    "edgecnn.backends.session",
    "edgecnn.backends.ort",
    "edgecnn.backends.trt",
    "edgecnn.backends.trt_build",
    "edgecnn.backends.preflight",
    "edgecnn.backends.build_child",
    "edgecnn.backends.engines",
    "edgecnn.backends.fake",
    "edgecnn.evaluate.accuracy",
    "edgecnn.runtime.pipeline",
    "edgecnn.runtime.sources.base",
    "edgecnn.runtime.sources.video",
    "edgecnn.runtime.sources.live",
    "edgecnn.runtime.sources.gst_child",
    "edgecnn.runtime.page.server",
    "edgecnn.runtime.sinks.jsonlines",
    "edgecnn.runtime.sinks.mqtt",
    "edgecnn.runtime.sinks.prometheus",
    "edgecnn.runtime.sinks.video",
    "edgecnn.runtime.sinks.window",
    "edgecnn.runtime.sinks.worker",
    "edgecnn.profiling.measure",
    "edgecnn.profiling.compare",
    "edgecnn.profiling.from_trtexec",
    "edgecnn.profiling.report.compare_page",
    "edgecnn.profiling.report.profile_text",
    "edgecnn.profiling.report.profile_page",
    "edgecnn.profiling.report.convert_page",
    "edgecnn.deploy.bundle",
    "edgecnn.deploy.remote",
    "edgecnn.profiling.telemetry.sampler",
)


def modules_after(code: str) -> set[str]:
    """Top-level names in sys.modules after some code has run in a fresh interpreter."""
    program = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_the_standard_library_only() -> None:
    before = modules_after("")
    assert modules_after("import edgecnn") - before - set(sys.stdlib_module_names) == {"edgecnn"}


def test_help_loads_nothing_heavy() -> None:
    code = "sys.argv = ['edgecnn', '--help']\ntry:\n import edgecnn.cli.main as m; m.main()\nexcept SystemExit: pass"
    assert modules_after(code).isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "command", ["train", "convert", "check", "estimate", "build", "evaluate", "run", "profile", "compare", "summary"]
)
def test_help_of_a_command_loads_nothing_heavy(command: str) -> None:
    code = (
        f"sys.argv = ['edgecnn', '{command}', '--help']\n"
        "try:\n import edgecnn.cli.main as m; m.main()\nexcept SystemExit: pass"
    )
    assert modules_after(code).isdisjoint(HEAVY)


def test_the_device_knows_neither_torch_nor_onnx() -> None:
    code = "import importlib\nfor name in " + repr(DEVICE_MODULES) + ": importlib.import_module(name)"
    loaded = modules_after(code)
    assert loaded.isdisjoint(NOT_ON_DEVICE)
    assert {"edgecnn", "numpy", "cv2", "onnxruntime"} <= loaded
    # Extras that a run may have, loaded when they are asked for.
    assert loaded.isdisjoint(EXTRAS)
