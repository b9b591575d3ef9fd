"""Raise a model's opset to where the passes and quantization begin."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from edgecnn.errors import InputError

# The first with scales for each channel (QuantizeLinear, 13) is enough for Q/DQ; 17 is what TensorRT 8.5 and later read
# and the newest that onnx's converter reaches from 7 without a gap in the operators that CNNs use.
LOWEST = 13
_TARGET = 17


def raise_opset(model: ir.Model) -> ir.Model:
    """The model itself if its opset is 13 or later, else the model converted to 17.

    Raises:
        InputError: onnx's version converter cannot convert it; the message is its own.
    """
    if model.opset_imports.get("", LOWEST) >= LOWEST:
        return model
    try:
        return ir.from_proto(onnx.version_converter.convert_version(ir.to_proto(model), _TARGET))
    except (RuntimeError, onnx.checker.ValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the model's opset {model.opset_imports.get('')} cannot be raised to {_TARGET}: {reason}",
            f"export it again with opset {LOWEST} or later",
        ) from None
