"""What 8 bits leave of a tensor, with gradients for the tensor and for the size of a step."""

from __future__ import annotations

from typing import Any

import torch

# The scales that FP16 has: the smallest number, and the smallest that has all digits.
_LEAST = 2.0**-24


class FakeQuantize(torch.autograd.Function):
    """ONNX's QuantizeLinear and DequantizeLinear: ``clip(round(x / scale)) * scale``, halves rounded to even.

    The gradient takes rounding for the identity (a straight-through estimator). So x has the gradient of the result
    where it is not clipped, and 0 where it is; the scale has ``round(x / scale) - x / scale`` times it where x is not
    clipped, and the bound where it is. Source: Jain et al., "Trained Quantization Thresholds", 2020; Esser et al.,
    "Learned Step Size Quantization", 2020.

    Args:
        data: (...).
        scale: () or what broadcasts to ``data``.
        lowest: The first step.
        highest: The last one.
    """

    @staticmethod
    def forward(ctx: Any, data: torch.Tensor, scale: torch.Tensor, lowest: int, highest: int) -> torch.Tensor:
        """See the class."""
        steps = data / scale
        ctx.save_for_backward(steps, scale)
        ctx.bounds = lowest, highest
        return steps.round().clamp_(lowest, highest).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """See the class."""
        steps, scale = ctx.saved_tensors
        rounded = steps.round()
        inside = (rounded >= ctx.bounds[0]) & (rounded <= ctx.bounds[1])
        to_data = gradients[0] * inside
        to_scale = gradients[0] * rounded.clamp_(*ctx.bounds) - to_data * steps
        return to_data, to_scale.sum_to_size(scale.shape), None, None


class ScaleOf(torch.autograd.Function):
    """A scale from its logarithm, rounded to a number that FP16 has too; the gradient is that of the exponential.

    A step of the optimizer then changes a scale by a part of itself, however small it is (Jain et al., 2020).
    """

    @staticmethod
    def forward(ctx: Any, logarithm: torch.Tensor) -> torch.Tensor:
        """See the class."""
        scale = logarithm.double().exp().clamp(min=_LEAST).half().float()
        ctx.save_for_backward(scale)
        return scale

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """See the class."""
        return (gradients[0] * ctx.saved_tensors[0],)
