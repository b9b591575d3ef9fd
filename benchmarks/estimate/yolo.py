"""YOLO of Ultralytics (8 and 11) and YOLOX, as their papers and model tables describe them: layers and sizes alone.

Parameters and multiply-accumulates are those that are published, as tests/unit/benchmarks/test_estimate.py sees to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Conv(nn.Sequential):
    """Convolution, BatchNorm, SiLU."""

    def __init__(self, given: int, wanted: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(given, wanted, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(wanted),
            nn.SiLU(),
        )


class Residual(nn.Module):
    """Two convolutions, and the input added where wanted."""

    def __init__(self, width: int, hidden: int, add: bool, first: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(Conv(width, hidden, first), Conv(hidden, width, 3))
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        """See ``torch.nn.Module``."""
        return x + self.body(x) if self.add else self.body(x)


class CrossStage(nn.Module):
    """CSP with three convolutions: YOLOX's CSP layer, and YOLO11's C3k (kernel 3)."""

    def __init__(self, given: int, wanted: int, count: int, add: bool, first: int = 1) -> None:
        super().__init__()
        half = wanted // 2
        self.left, self.right, self.last = Conv(given, half), Conv(given, half), Conv(2 * half, wanted)
        self.body = nn.Sequential(*(Residual(half, half, add, first) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        """See ``torch.nn.Module``."""
        return self.last(torch.cat((self.body(self.left(x)), self.right(x)), 1))


class SplitStage(nn.Module):
    """Halves, blocks one behind the other, everything concatenated: C2f of YOLOv8, C3k2 of YOLO11."""

    def __init__(self, given: int, wanted: int, blocks: list[nn.Module], width: int) -> None:
        super().__init__()
        self.first = Conv(given, 2 * width)
        self.blocks = nn.ModuleList(blocks)
        self.last = Conv((2 + len(blocks)) * width, wanted)

    def forward(self, x: Tensor) -> Tensor:
        """See ``torch.nn.Module``."""
        parts = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.last(torch.cat(parts, 1))


class Pyramid(nn.Module):
    """Spatial pyramid pooling: three poolings of 5 in a row (SPPF), or of 5, 9 and 13 beside each other (SPP)."""

    def __init__(self, given: int, wanted: int, kernels: tuple[int, ...] = (5, 5, 5), chained: bool = True) -> None:
        super().__init__()
        self.first, self.last = Conv(given, given // 2), Conv(2 * given, wanted)
        self.pools = nn.ModuleList(nn.MaxPool2d(kernel, 1, kernel // 2) for kernel in kernels)
        self.chained = chained

    def forward(self, x: Tensor) -> Tensor:
        """See ``torch.nn.Module``."""
        parts = [self.first(x)]
        for pool in self.pools:
            parts.append(pool(parts[-1] if self.chained else parts[0]))
        return self.last(torch.cat(parts, 1))


class Attention(nn.Module):
    """YOLO11's attention block with its two convolutions behind."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads, self.size = width // 64, 64
        self.keys = self.size // 2
        self.qkv = nn.Sequential(nn.Conv2d(width, 2 * width, 1, bias=False), nn.BatchNorm2d(2 * width))
        self.place = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False), nn.BatchNorm2d(width))
        self.project = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))
        plain = nn.Sequential(nn.Conv2d(2 * width, width, 1, bias=False), nn.BatchNorm2d(width))
        self.behind = nn.Sequential(Conv(width, 2 * width), plain)

    def forward(self, x: Tensor) -> Tensor:
        """See ``torch.nn.Module``."""
        batch, width, height, wide = x.shape
        sizes = (self.keys, self.keys, self.size)
        parts = self.qkv(x).view(batch, self.heads, sum(sizes), height * wide).split(sizes, 2)
        query, key, value = parts
        weights = (query.transpose(-2, -1) @ key * self.keys**-0.5).softmax(-1)
        mixed = (value @ weights.transpose(-2, -1)).view(batch, width, height, wide)
        x = x + self.project(mixed + self.place(value.reshape(batch, width, height, wide)))
        return x + self.behind(x)


class AttentionStage(nn.Module):
    """C2PSA."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.half = width // 2
        self.first, self.last = Conv(width, width), Conv(width, width)
        self.body = nn.Sequential(*(Attention(self.half) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        """See ``torch.nn.Module``."""
        left, right = self.first(x).chunk(2, 1)
        return self.last(torch.cat((left, self.body(right)), 1))


class Detector(nn.Module):
    """A backbone of five steps, a feature pyramid up and down, and a head on three levels.

    Args:
        stem: From the picture to half its size.
        steps: Four pairs of a convolution that halves the size, and a stage; more modules may follow the last pair.
        tops: Before each upsampling, or none.
        ups: Stages after the two upsamplings.
        downs: Convolutions that halve the size, on the way down.
        lasts: Stages on the way down.
        head: Takes the three levels.
    """

    def __init__(
        self,
        stem: nn.Module,
        steps: list[nn.Module],
        tops: list[nn.Module],
        ups: list[nn.Module],
        downs: list[nn.Module],
        lasts: list[nn.Module],
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.steps, self.tops, self.ups = nn.ModuleList(steps), nn.ModuleList(tops), nn.ModuleList(ups)
        self.downs, self.lasts, self.head = nn.ModuleList(downs), nn.ModuleList(lasts), head
        self.larger = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        """See ``torch.nn.Module``."""
        x = self.stem(x)
        levels: list[Tensor] = []
        for step in self.steps:
            x = step(x)
            levels.append(x)
        _, third, fourth, x = levels
        high = self.tops[0](x)
        middle = self.tops[1](self.ups[0](torch.cat((self.larger(high), fourth), 1)))
        small = self.ups[1](torch.cat((self.larger(middle), third), 1))
        medium = self.lasts[0](torch.cat((self.downs[0](small), middle), 1))
        large = self.lasts[1](torch.cat((self.downs[1](medium), high), 1))
        return self.head([small, medium, large])


class SplitHead(nn.Module):
    """Boxes as distributions and classes, decoded: YOLOv8's and YOLO11's (whose class branch is depthwise)."""

    def __init__(self, widths: list[int], side: int, depthwise: bool, classes: int = 80) -> None:
        super().__init__()
        box, kind = max(16, widths[0] // 4, 64), max(widths[0], min(classes, 100))
        self.boxes = nn.ModuleList(
            nn.Sequential(Conv(width, box, 3), Conv(box, box, 3), nn.Conv2d(box, 64, 1)) for width in widths
        )
        self.kinds = nn.ModuleList(
            nn.Sequential(
                Conv(width, width, 3, groups=width),
                Conv(width, kind),
                Conv(kind, kind, 3, groups=kind),
                Conv(kind, kind),
                nn.Conv2d(kind, classes, 1),
            )
            if depthwise
            else nn.Sequential(Conv(width, kind, 3), Conv(kind, kind, 3), nn.Conv2d(kind, classes, 1))
            for width in widths
        )
        self.bins = nn.Conv2d(16, 1, 1, bias=False)
        count = sum((side // stride) ** 2 for stride in (8, 16, 32))
        self.register_buffer("centres", torch.rand(1, 2, count))
        self.register_buffer("strides", torch.rand(1, 1, count))

    def forward(self, levels: list[Tensor]) -> Tensor:
        """See ``torch.nn.Module``."""
        made = [
            torch.cat((boxes(x), kinds(x)), 1).flatten(2)
            for boxes, kinds, x in zip(self.boxes, self.kinds, levels, strict=True)
        ]
        x = torch.cat(made, 2)
        boxes, kinds = x.split((64, x.shape[1] - 64), 1)
        sides = self.bins(boxes.view(1, 4, 16, -1).transpose(2, 1).softmax(1)).view(1, 4, -1)
        begin, end = sides.chunk(2, 1)
        begin, end = self.centres - begin, self.centres + end
        return torch.cat((torch.cat(((begin + end) / 2, end - begin), 1) * self.strides, kinds.sigmoid()), 1)


class DecoupledHead(nn.Module):
    """YOLOX's."""

    def __init__(self, widths: list[int], width: int, classes: int) -> None:
        super().__init__()
        self.stems = nn.ModuleList(Conv(given, width) for given in widths)
        self.kinds = nn.ModuleList(nn.Sequential(Conv(width, width, 3), Conv(width, width, 3)) for _ in widths)
        self.boxes = nn.ModuleList(nn.Sequential(Conv(width, width, 3), Conv(width, width, 3)) for _ in widths)
        self.outputs = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(width, count, 1) for count in (classes, 4, 1)) for _ in widths
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        """See ``torch.nn.Module``."""
        made: list[Tensor] = []
        for index, x in enumerate(levels):
            x = self.stems[index](x)
            kinds, boxes = self.kinds[index](x), self.boxes[index](x)
            kind, box, object_ = self.outputs[index]
            made.append(torch.cat((box(boxes), object_(boxes).sigmoid(), kind(kinds).sigmoid()), 1).flatten(2))
        return torch.cat(made, 2).permute(0, 2, 1)


class Focus(nn.Module):
    """Four neighbours as channels, then a convolution."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self.conv = Conv(12, wanted, 3)

    def forward(self, x: Tensor) -> Tensor:
        """See ``torch.nn.Module``."""
        corners = (x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])
        return self.conv(torch.cat(corners, 1))


def yolov8(size: str, side: int = 640) -> nn.Module:
    """YOLOv8 for detection of 80 classes; n, s, m, l or x."""
    depth, width, most = {
        "n": (0.33, 0.25, 1024), "s": (0.33, 0.5, 1024), "m": (0.67, 0.75, 768), "l": (1, 1, 512), "x": (1, 1.25, 512),
    }[size]  # fmt: skip
    a, b, c, d, e = (int(min(channels, most) * width) for channels in (64, 128, 256, 512, 1024))
    few, many = max(round(3 * depth), 1), max(round(6 * depth), 1)

    def stage(given: int, wanted: int, count: int, add: bool) -> nn.Module:
        half = wanted // 2
        return SplitStage(given, wanted, [Residual(half, half, add) for _ in range(count)], half)

    steps: list[nn.Module] = [
        nn.Sequential(Conv(a, b, 3, 2), stage(b, b, few, True)),
        nn.Sequential(Conv(b, c, 3, 2), stage(c, c, many, True)),
        nn.Sequential(Conv(c, d, 3, 2), stage(d, d, many, True)),
        nn.Sequential(Conv(d, e, 3, 2), stage(e, e, few, True), Pyramid(e, e)),
    ]
    return Detector(
        Conv(3, a, 3, 2),
        steps,
        [nn.Identity(), nn.Identity()],
        [stage(d + e, d, few, False), stage(c + d, c, few, False)],
        [Conv(c, c, 3, 2), Conv(d, d, 3, 2)],
        [stage(c + d, d, few, False), stage(d + e, e, few, False)],
        SplitHead([c, d, e], side, depthwise=False),
    )


def yolo11(size: str, side: int = 640) -> nn.Module:
    """YOLO11 for detection of 80 classes; n, s, m, l or x."""
    depth, width, most = {
        "n": (0.5, 0.25, 1024), "s": (0.5, 0.5, 1024), "m": (0.5, 1, 512), "l": (1, 1, 512), "x": (1, 1.5, 512),
    }[size]  # fmt: skip
    a, b, c, d, e = (int(min(channels, most) * width) for channels in (64, 128, 256, 512, 1024))
    count = max(round(2 * depth), 1)
    large = size in "mlx"

    def stage(given: int, wanted: int, deep: bool, part: float = 0.5) -> nn.Module:
        hidden = int(wanted * part)
        blocks: list[nn.Module] = [
            CrossStage(hidden, hidden, 2, True, 3) if deep or large else Residual(hidden, hidden // 2, True)
            for _ in range(count)
        ]
        return SplitStage(given, wanted, blocks, hidden)

    steps: list[nn.Module] = [
        nn.Sequential(Conv(a, b, 3, 2), stage(b, c, False, 0.25)),
        nn.Sequential(Conv(c, c, 3, 2), stage(c, d, False, 0.25)),
        nn.Sequential(Conv(d, d, 3, 2), stage(d, d, True)),
        nn.Sequential(Conv(d, e, 3, 2), stage(e, e, True), Pyramid(e, e), AttentionStage(e, count)),
    ]
    return Detector(
        Conv(3, a, 3, 2),
        steps,
        [nn.Identity(), nn.Identity()],
        [stage(d + e, d, False), stage(d + d, c, False)],
        [Conv(c, c, 3, 2), Conv(d, d, 3, 2)],
        [stage(c + d, d, False), stage(d + e, e, True)],
        SplitHead([c, d, e], side, depthwise=True),
    )


def yolox(size: str, classes: int = 4) -> nn.Module:
    """YOLOX; s, m or l."""
    depth, width = {"s": (0.33, 0.5), "m": (0.67, 0.75), "l": (1, 1)}[size]
    a, b, c, d, e = (int(channels * width) for channels in (64, 128, 256, 512, 1024))
    few, many = max(round(3 * depth), 1), max(round(9 * depth), 1)
    steps: list[nn.Module] = [
        nn.Sequential(Conv(a, b, 3, 2), CrossStage(b, b, few, True)),
        nn.Sequential(Conv(b, c, 3, 2), CrossStage(c, c, many, True)),
        nn.Sequential(Conv(c, d, 3, 2), CrossStage(d, d, many, True)),
        nn.Sequential(Conv(d, e, 3, 2), Pyramid(e, e, (5, 9, 13), chained=False), CrossStage(e, e, few, False)),
    ]
    return Detector(
        Focus(a),
        steps,
        [Conv(e, d), Conv(d, c)],
        [CrossStage(2 * d, d, few, False), CrossStage(2 * c, c, few, False)],
        [Conv(c, c, 3, 2), Conv(d, d, 3, 2)],
        [CrossStage(2 * c, d, few, False), CrossStage(2 * d, e, few, False)],
        DecoupledHead([c, d, e], c, classes),
    )
