"""What NVIDIA's compiler said, as findings: the node that is meant, and what a user can do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgecnn.backends.preflight import Preflight
from edgecnn.core.detector import Nms
from edgecnn.core.verdict import Finding

# What TensorRT-RTX refuses and the device's TensorRT does not: operator, and why the compiler's word does not count.
KNOWN_DIFFERENCES: dict[str, str] = {
    "NonMaxSuppression": "TensorRT-RTX parses NonMaxSuppression and has no kernel for it; TensorRT has one since 8.5",
    "NonZero": "TensorRT-RTX wants a plugin for NonZero, and has no plugins; TensorRT has a layer for it since 8.5",
    "EfficientNMS_TRT": "TensorRT-RTX has no plugins, so not EfficientNMS_TRT; TensorRT has it, deprecated since 10.12",
}
_NMS_OPERATORS: dict[Nms, str] = {"onnx": "NonMaxSuppression", "efficient_nms_trt": "EfficientNMS_TRT"}

# From what the compiler says (a part of its message, in lower case) to what a user can do about it.
_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        "has type int32 but must have type fp8",
        "store biases in float (onnxruntime's quantizer writes INT32): convert the FP32 model with edgecnn instead",
    ),
    (
        "has type uint8 but must have type",
        "let the uint8 input go into a Cast at once, and transpose behind that: edgecnn convert embeds it so",
    ),
    ("must have same input types", "put a Cast before it, so that its inputs are of one type"),
    ("antialiasing", "export Resize with antialias = 0"),
    ("must resolve to a build-time constant", "fold constants first: edgecnn convert does"),
    ("no importer registered", "TensorRT does not know this operator: replace it, or cut the model before it"),
    ("failed to parse the onnx model", "the file is damaged or not ONNX"),
    ("zero point", "INT8 must be symmetric: zero points 0; convert the FP32 model with edgecnn instead"),
    ("no optimization profile", "fix the sizes that the inputs leave open"),
    ("out of memory", "close what else uses memory, or make the network smaller"),
)
_GENERAL_REMEDY = "export this part of the model differently, or cut the model before it"
# NVIDIA's frame around a reason: `...: Error Code 4: API Usage Error (reason. In checkType at /_src/file.cpp:456)`.
_FRAMED = re.compile(r"Error Code \d+: [\w ]+ \((?P<reason>.*?)(?:\. In \w+ at [^\s)]*)?\)$", re.MULTILINE | re.DOTALL)
_ASSERTED = re.compile(r"^Assertion failed: [^:]+(?:::[^:]+)*: (?P<reason>.+)$", re.DOTALL)
_QUOTED = re.compile(r'&& "(?P<reason>[^"]+)"')


def compiler_findings(preflight: Preflight, operators: Sequence[tuple[str, str]]) -> list[Finding]:
    """Findings for a refusal; none where there is an engine.

    Args:
        preflight: What the compiler said.
        operators: (node, operator) of the graph.
    """
    if preflight.parse_errors:
        return [_of_parser(*error) for error in preflight.parse_errors]
    if not preflight.compile_error:
        return []
    known = [(name, operator) for name, operator in operators if operator in KNOWN_DIFFERENCES]
    excused = {operator for name, operator in known if _named_in(preflight.compile_error, [(name, operator)])}
    if excused:
        return [_excuse(KNOWN_DIFFERENCES[operator]) for operator in sorted(excused)]
    return [
        Finding(
            rule="compiler/build",
            severity="error",
            node=_named_in(preflight.compile_error, operators),
            message=_reason(preflight.compile_error),
            remedy=_remedy(preflight.compile_error),
        )
    ]


def known_difference(nms: Nms) -> Finding:
    """Why TensorRT-RTX was not asked about a network's NMS."""
    return _excuse(KNOWN_DIFFERENCES[_NMS_OPERATORS[nms]])


def _of_parser(node: str, operator: str, message: str) -> Finding:
    if operator in KNOWN_DIFFERENCES:
        return _excuse(KNOWN_DIFFERENCES[operator])
    return Finding(
        rule="compiler/parse",
        severity="error",
        node=f"{node} ({operator})" if node else "",
        message=_reason(message),
        remedy=_remedy(message),
    )


def _reason(message: str) -> str:
    """A message without the place in NVIDIA's source, and without what the missing driver says."""
    for pattern in (_FRAMED, _ASSERTED, _QUOTED):
        if found := pattern.search(message):
            return found["reason"].strip()
    return "the parser does not know this operator, or not in this form" if message == "false" else message


def _remedy(message: str) -> str:
    return next((remedy for part, remedy in _REMEDIES if part in message.lower()), _GENERAL_REMEDY)


def _named_in(message: str, operators: Sequence[tuple[str, str]]) -> str:
    """The nodes that a message of the optimizer names, in the graph's order; it appends numbers, and joins with +."""
    words = set(re.split(r"[\s{}\[\]():,+'\"]+|\.{3}", message))
    words |= {re.sub(r"_\d+$", "", word) for word in words} | {word.rstrip(".") for word in words}
    return ", ".join(f"{name} ({operator})" for name, operator in operators if name in words)


def _excuse(text: str) -> Finding:
    return Finding(
        rule="compiler/known-difference",
        severity="info",
        node="",
        message=text,
        remedy="nothing to do here: build on the device to be sure",
    )
