"""Which ONNX operators cost alike: nothing, a step for each value, a window around each, or all values for one."""

from __future__ import annotations

FREE = frozenset({
    "Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Reshape", "Flatten", "Squeeze", "Unsqueeze",
    "Dropout", "Constant",
})  # fmt: skip
SHAPES = frozenset({
    "Shape", "Size", "ConstantOfShape", "Range", "NonZero",
})  # fmt: skip
POINTWISE = frozenset({
    "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Selu", "Celu",
    "Softplus", "Softsign", "Gelu", "Mish", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Neg", "Floor",
    "Ceil", "Round", "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean", "Where", "Equal", "Greater",
    "Less", "Not", "And", "Or", "BatchNormalization",
})  # fmt: skip
WINDOW = frozenset({
    "MaxPool", "AveragePool", "LpPool", "Resize", "Upsample", "LRN", "GridSample",
})  # fmt: skip
REDUCE = frozenset({
    "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2",
    "ReduceProd", "Softmax", "LogSoftmax", "ArgMax", "ArgMin", "TopK", "LayerNormalization",
    "InstanceNormalization", "GroupNormalization", "NonMaxSuppression",
})  # fmt: skip
