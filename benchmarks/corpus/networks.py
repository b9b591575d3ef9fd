"""Which networks are tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Family = Literal["torchvision", "timm", "exporters", "onnx light", "detectors"]
FAMILIES: tuple[Family, ...] = ("exporters", "onnx light", "detectors", "torchvision", "timm")
# Transformers, whole or in part: matrix products of two computed operands are no CNN's.
_NO_CNN = ("vit", "swin", "maxvit")
_MOST_PARAMETERS = 100e6
# Of pictures for networks that take any size: larger ones go through the same operators, and take many hours more.
_SIDE = 128
EXPORTERS = ("dynamo", "torchscript", "opset9")
# One or two of every family of convolutional networks in timm, the smallest ones, by how they are built.
TIMM = (
    "resnet18d", "resnet26t", "seresnet50", "ecaresnet26t", "skresnet18", "resnest14d", "res2net50_26w_4s",
    "gcresnet33ts", "resnetv2_50", "resnetv2_50x1_bit", "resnetaa50", "cspresnet50", "darknet53", "selecsls42b",
    "tresnet_m", "gernet_s", "regnety_002", "regnetz_b16", "regnetv_040", "rexnet_100", "dla34", "dpn68",
    "densenet121", "hrnet_w18_small", "ese_vovnet19b_dw", "hgnetv2_b0", "xception41", "inception_v4",
    "inception_resnet_v2", "nasnetalarge", "mobilenetv1_100", "mobilenetv2_050", "mobilenetv3_small_050",
    "mobilenetv4_conv_small", "lcnet_050", "tinynet_e", "ghostnet_100", "mixnet_s", "hardcorenas_a", "fbnetc_100",
    "semnasnet_075", "efficientnet_lite0", "tf_efficientnet_lite0", "tf_efficientnet_b0", "tf_efficientnetv2_b0",
    "efficientnet_b0_gn", "repvgg_a0", "mobileone_s0", "repghostnet_050", "dm_nfnet_f0", "nf_regnet_b0",
    "eca_nfnet_l0", "convnext_atto", "convnextv2_atto", "convmixer_768_32", "inception_next_atto", "rdnet_tiny",
    "starnet_s1",
)  # fmt: skip


@dataclass(frozen=True)
class Network:
    """One network.

    Attributes:
        name: In the table, as ``--only`` takes it.
        family: Where it is from.
        source: ``torchvision:NAME`` or ``timm:NAME``, an exporter of ``EXPORTERS``, or the path of an ONNX file.
        drawn: Whether its weights are drawn at random here.
        side: Of the pictures, pixels; None where the file says it.
    """

    name: str
    family: Family
    source: str
    drawn: bool
    side: int | None = None

    @property
    def file_name(self) -> str:
        """The name without what file systems dislike."""
        return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in self.name)


def corpus(data: Path, timm_names: Sequence[str] = TIMM) -> list[Network]:
    """All networks, family by family, small ones first."""
    return [
        *(Network(f"resnet18, {name}", "exporters", name, drawn=True, side=224) for name in EXPORTERS),
        *_light(),
        *_detectors(data),
        *_torchvision(),
        *(Network(f"timm:{name}", "timm", f"timm:{name}", drawn=True, side=_SIDE) for name in timm_names),
    ]


def _torchvision() -> list[Network]:
    from torchvision import models

    chosen: list[tuple[int, Network]] = []
    for name in models.list_models(module=models):
        weights = models.get_model_weights(name).DEFAULT
        if name.startswith(_NO_CNN) or weights.meta["num_params"] >= _MOST_PARAMETERS:
            continue
        source = f"torchvision:{name}"
        network = Network(source, "torchvision", source, drawn=True, side=_SIDE)
        chosen.append((weights.meta["num_params"], network))
    return [network for _, network in sorted(chosen, key=lambda pair: (pair[0], pair[1].name))]


def _light() -> list[Network]:
    """The graphs that the onnx package comes with: as they are, one number in each weight, and with drawn weights."""
    import onnx

    paths = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
    return [
        Network(f"{path.stem}, {kind}", "onnx light", str(path), drawn=kind == "drawn weights")
        for path in paths
        for kind in ("as it is", "drawn weights")
    ]


def _detectors(data: Path) -> list[Network]:
    return [
        Network(path.stem, "detectors", str(path), drawn=False) for path in sorted((data / "detectors").rglob("*.onnx"))
    ]
