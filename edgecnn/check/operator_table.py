"""What the ONNX parser of each version of TensorRT has: operators, opsets, element types and plugins.

From the onnx-tensorrt repository: docs/operators.md at 8.0, 8.4, 8.5, 9.2, 10.6, 10.8, 10.12 and 10.15; the changelog
to 10.15 and the release notes to 11.5 for what lies between and behind; the importers of 8.4, 8.5, 9 and 10.6 and the
checkers of 10.0 and 10.6 where these say nothing. docs/operators.md says more, and what is not known.
"""

from __future__ import annotations

import onnx_ir as ir

Version = tuple[int, int]

# Operators by the first version with an importer. 8.2 is the oldest looked at; what 9 brought stands at 10.0, as no
# JetPack has 9. In no version: what is not named here. ImageScaler, ParametricSoftplus and ScaledTanh are of ONNX's
# first years.
_IMPORTERS: dict[Version, str] = {
    (8, 2): """
        Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip
        Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout
        Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gemm
        GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual HardSigmoid Identity If ImageScaler
        InstanceNormalization IsNaN LRN LSTM LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool
        MatMul Max MaxPool Mean Min Mul Neg Not Or PRelu Pad ParametricSoftplus Pow QuantizeLinear RNN RandomUniform
        RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
        ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence Round ScaledTanh Scan
        Scatter ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign
        SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze Upsample Where
        """,
    (8, 4): "HardSwish Shrink Xor",
    (8, 5): """
        GridSample MeanVarianceNormalization Mod NonMaxSuppression NonZero OneHot RandomNormal
        RandomNormalLike RoiAlign Trilu
        """,
    (8, 6): "GroupNormalization IsInf LayerNormalization",
    (10, 0): "CastLike Gelu Hardmax Mish",
    (10, 1): "DeformConv",
    (10, 4): "BlackmanWindow HammingWindow HannWindow",
    (10, 5): "STFT",
    (10, 14): "Attention",
    (10, 15): "RMSNormalization RotaryEmbedding TensorScatter",
    (11, 0): "Swish",
    (11, 2): "DFT",
}
FIRST_WITH: dict[str, Version] = {
    operator: version for version, operators in _IMPORTERS.items() for operator in operators.split()
}

# The newest opset that each version documents; versions between have that of the one before. Nothing is refused above
# it: the parser reads operators as it knows them.
_OPSETS: dict[Version, int] = {
    (8, 2): 13,
    (8, 5): 17,
    (10, 0): 20,
    (10, 6): 22,
    (10, 12): 23,
    (10, 15): 24,
    (11, 5): 25,
}

# Element types by the first version; UINT8 is for inputs and outputs only.
FIRST_WITH_TYPE: dict[ir.DataType, Version] = {
    ir.DataType.UINT8: (8, 5),
    ir.DataType.BFLOAT16: (10, 0),
    ir.DataType.FLOAT8E4M3FN: (10, 0),
    ir.DataType.INT4: (10, 0),
    ir.DataType.FLOAT4E2M1: (10, 8),
}
NO_TYPES = frozenset(
    {
        ir.DataType.INT16,
        ir.DataType.UINT16,
        ir.DataType.UINT32,
        ir.DataType.UINT64,
        ir.DataType.STRING,
        ir.DataType.COMPLEX64,
        ir.DataType.COMPLEX128,
        ir.DataType.FLOAT8E4M3FNUZ,
        ir.DataType.FLOAT8E5M2,
        ir.DataType.FLOAT8E5M2FNUZ,
    }
)
# The first with INT64 as a type of its own; before, it is INT32, and numbers beyond that are cut to its range.
INT64_SINCE: Version = (10, 0)
# The first that reads functions of a model (9.0 did).
FUNCTIONS_SINCE: Version = (10, 0)

# TensorRT's own plugins, from its plugin/README.md, without those that are named as ONNX operators are.
_PLUGINS = """
    BatchTilePlugin_TRT BatchedNMSDynamic_TRT BatchedNMS_TRT Clip_TRT CoordConvAC CropAndResize CropAndResizeDynamic
    CustomEmbLayerNormPluginDynamic CustomFCPluginDynamic CustomGeluPluginDynamic CustomQKVToContextPluginDynamic
    CustomSkipLayerNormPluginDynamic DecodeBbox3DPlugin DetectionLayer_TRT DisentangledAttention_TRT
    EfficientNMS_ONNX_TRT EfficientNMS_TRT FlattenConcat_TRT GenerateDetection_TRT GridAnchorRect_TRT GridAnchor_TRT
    GroupNormalizationPlugin InstanceNormalization_TRT LReLU_TRT ModulatedDeformConv2d MultilevelCropAndResize_TRT
    MultilevelProposeROI_TRT MultiscaleDeformableAttnPlugin_TRT NMSDynamic_TRT NMS_TRT Normalize_TRT
    PillarScatterPlugin PriorBox_TRT Proposal ProposalDynamic ProposalLayer_TRT PyramidROIAlign_TRT ROIAlign_TRT
    RPROI_TRT Region_TRT Reorg_TRT ResizeNearest_TRT SpecialSlice_TRT VoxelGeneratorPlugin
"""
PLUGINS = frozenset(_PLUGINS.split())
# Of these the announced end, by the first version that announced it.
DEPRECATED_PLUGINS: dict[str, Version] = {"EfficientNMS_TRT": (10, 12)}


def parse_version(text: str) -> Version:
    """Major and minor number of a version such as ``10.3.0``."""
    major, minor = [*text.split("."), "0"][:2]
    return int(major), int(minor)


def has_importer(operator: str, version: Version) -> bool:
    """Whether a version's parser knows an operator, whose domain it does not look at."""
    return operator in FIRST_WITH and FIRST_WITH[operator] <= version


def newest_opset(version: Version) -> int:
    """The newest opset that a version's parser documents."""
    return _OPSETS[max((each for each in _OPSETS if each <= version), default=min(_OPSETS))]
