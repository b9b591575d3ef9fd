"""A stand-in for TensorRT's Python package, as far as a build goes, for real processes: it needs no GPU.

``STAND_IN`` in the environment says how it behaves: ``needs=BYTES`` of workspace, and what happens with less
(``short=error``, ``short=kill``), ``refuse=TEXT`` for the parser, ``crash``, ``wait=FILE`` until that exists.
The plan is the list of what was set, so that tests can read it. A run of one takes ``STAND_IN_MS_<model>`` milliseconds.
"""

from __future__ import annotations

import json
import os
import signal
import time
from abc import ABC, abstractmethod
from types import SimpleNamespace

__version__ = os.environ.get("STAND_IN_VERSION", "10.3.0")
_BEHAVIOUR = dict(part.partition("=")[::2] for part in os.environ.get("STAND_IN", "").split(";") if part)
_DEFAULT_WORKSPACE = 1 << 33


class ILogger(ABC):
    INTERNAL_ERROR, ERROR, WARNING, INFO = 0, 1, 2, 3

    @abstractmethod
    def log(self, severity, message): ...


class IProgressMonitor:
    pass


class IProfiler:
    pass


NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)
BuilderFlag = SimpleNamespace(
    FP16="FP16", INT8="INT8", SPARSE_WEIGHTS="SPARSE_WEIGHTS", VERSION_COMPATIBLE="VERSION_COMPATIBLE",
    GPU_FALLBACK="GPU_FALLBACK",
)  # fmt: skip
MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
HardwareCompatibilityLevel = SimpleNamespace(AMPERE_PLUS="AMPERE_PLUS")
DeviceType = SimpleNamespace(DLA="DLA")
DataType = SimpleNamespace(HALF="HALF", INT8="INT8")


LayerType = SimpleNamespace(CONVOLUTION="conv", DECONVOLUTION="deconv", MATRIX_MULTIPLY="matmul", DEQUANTIZE="dq")
ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
LayerInformationFormat = SimpleNamespace(JSON="json")
TensorIOMode = SimpleNamespace(INPUT="input")


class Logger:
    ERROR, WARNING = 1, 2

    def __init__(self, _level):
        pass


def _layer(name, kind, inputs, output):
    return SimpleNamespace(
        name=name,
        type=kind,
        num_inputs=len(inputs),
        get_input=lambda index: SimpleNamespace(name=inputs[index]) if index < len(inputs) else None,
        num_outputs=1,
        get_output=lambda _: SimpleNamespace(name=output, dtype="INT8" if kind == "dq" else "FLOAT"),
    )


_LAYERS = [
    _layer("from_x", "dq", ["xq"], "x"),
    _layer("from_w", "dq", ["wq"], "w"),
    _layer("conv1", "conv", ["x", "w"], "a"),
    _layer("conv2", "conv", ["x", "w"], "b"),
    _layer("conv3", "conv", ["a", "w"], "c"),
    _layer("conv4", "conv", ["x"], "d"),
]


class Runtime:
    engine_host_code_allowed = False

    def __init__(self, _logger):
        pass

    def deserialize_cuda_engine(self, plan):
        if "VERSION_COMPATIBLE" in json.loads(plan)["flags"] and not self.engine_host_code_allowed:
            return None
        layers = [
            {"Name": "conv1 + relu1", "Inputs": [{"Format/Datatype": "Row major Int8 format"}]},
            {"Name": "conv2", "Inputs": [{"Format/Datatype": "Row major linear FP32"}]},
        ]
        inspector = SimpleNamespace(get_engine_information=lambda _: json.dumps({"Layers": layers}))
        milliseconds = float(os.environ.get(f"STAND_IN_MS_{json.loads(plan)['model']}", "1"))
        context = SimpleNamespace(
            set_tensor_address=lambda _name, _address: True,
            execute_async_v3=lambda _stream: time.sleep(milliseconds / 1000) is None,
        )
        return SimpleNamespace(
            create_engine_inspector=lambda: inspector,
            num_io_tensors=2,
            get_tensor_name=["input", "output"].__getitem__,
            get_tensor_shape=lambda name: (1, 3, 8, 8) if name == "input" else (1, 3),
            get_tensor_dtype=lambda _name: "float32",
            get_tensor_mode=lambda name: TensorIOMode.INPUT if name == "input" else "output",
            create_execution_context=lambda: None if "no_context" in _BEHAVIOUR else context,
        )


def nptype(name):
    return name


class _Config:
    def __init__(self):
        self.workspace = _DEFAULT_WORKSPACE
        self.flags = []
        self.profiles = []
        self.builder_optimization_level = 3
        self.hardware_compatibility_level = None
        self.default_device_type = None
        self.DLA_core = None
        self.progress_monitor = None
        self.cache = None

    def set_memory_pool_limit(self, _pool, size):
        self.workspace = size

    def set_flag(self, flag):
        self.flags.append(flag)

    def create_timing_cache(self, blob):
        return SimpleNamespace(blob=blob, serialize=lambda: blob + f"timed by {__version__} ".encode())

    def set_timing_cache(self, cache, ignore_mismatch):
        assert not ignore_mismatch
        if cache.blob and not cache.blob.endswith(f"timed by {__version__} ".encode()):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self):
        return self.cache

    def add_optimization_profile(self, profile):
        self.profiles.append(profile.shapes)


class Builder:
    num_DLA_cores = 1

    def __init__(self, logger):
        self.logger = logger

    def create_network(self, flags):
        tensor = SimpleNamespace(name="input", shape=json.loads(os.environ.get("STAND_IN_SHAPE", "[1, 3, 8, 8]")))
        return SimpleNamespace(
            flags=flags,
            model="",
            num_layers=len(_LAYERS),
            num_inputs=1,
            get_layer=_LAYERS.__getitem__,
            get_input=lambda _: tensor,
        )

    def create_builder_config(self):
        return _Config()

    def create_optimization_profile(self):
        profile = SimpleNamespace(shapes={})
        profile.set_shape = lambda name, *shapes: profile.shapes.__setitem__(name, shapes)
        return profile

    def build_serialized_network(self, network, config):
        if config.progress_monitor is not None:
            config.progress_monitor.phase_start("Building engine", None, 2)
            config.progress_monitor.phase_start("Inner", "Building engine", 9)
            config.progress_monitor.step_complete("Inner", 0)
            config.progress_monitor.step_complete("Building engine", 0)
        print("native code writes to standard output")
        if "wait" in _BEHAVIOUR:
            while not os.path.exists(_BEHAVIOUR["wait"]):
                time.sleep(0.02)
        if "crash" in _BEHAVIOUR:
            os.kill(os.getpid(), signal.SIGSEGV)
        if config.workspace > int(_BEHAVIOUR.get("needs", _DEFAULT_WORKSPACE)):
            if _BEHAVIOUR.get("short") == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            for text in _BEHAVIOUR.get("text", "Error Code 2: OutOfMemory (no memory)|no kernel for conv1").split("|"):
                self.logger.log(ILogger.ERROR, text)
            return None
        if config.progress_monitor is not None:
            config.progress_monitor.phase_finish("Building engine")
        return json.dumps(
            {
                "flags": config.flags,
                "workspace": config.workspace,
                "level": config.builder_optimization_level,
                "hardware": config.hardware_compatibility_level,
                "device": config.default_device_type,
                "core": config.DLA_core,
                "profiles": config.profiles,
                "network": network.flags,
                "model": network.model,
            }
        ).encode()


class OnnxParser:
    num_errors = 1

    def __init__(self, network, _logger):
        self.network = network

    def parse_from_file(self, path):
        self.network.model = os.path.basename(path).partition(".")[0]
        return _BEHAVIOUR.get("refuses", self.network.model) != self.network.model or "refuse" not in _BEHAVIOUR

    def get_error(self, _index):
        error = SimpleNamespace(node=lambda: 7, desc=lambda: _BEHAVIOUR["refuse"])
        if int(__version__.split(".")[0]) >= 10:
            error.node_name, error.node_operator = lambda: "conv1", lambda: "Conv"
        return error
