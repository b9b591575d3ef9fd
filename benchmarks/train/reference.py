"""The same recipes as torchvision's tutorial and reference scripts write them: what edgecnn's are compared with.

Pictures in an ImageFolder with PIL's transforms, a DataLoader with processes, AdamW with a straight warm-up and half a
cosine, and every picture of every epoch through the whole network. Feature extraction freezes all but a new last layer
(the tutorial on transfer learning); fine-tuning trains all layers, with label smoothing and an average of the weights
(references/classification). Epochs, batch, rates and augmentation are those of edgecnn's recipe; what only edgecnn has,
kept features and rates by depth, is left out.

Run as a process of its own, so that it pays for loading Torch as edgecnn does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, models, transforms


def learn(job: dict[str, Any]) -> list[dict[str, float]]:
    """Train until the last epoch, or until the time is over; top-1 on those kept back after each epoch.

    Args:
        job: ``pictures``, ``weights`` and ``recipe`` (parts preprocess and train of edgecnn's), ``learn`` and ``keep``
            (paths on both sides of the split), ``begun`` (monotonic time) and ``limit_s``.
    """
    recipe, config = job["recipe"], job["recipe"]["train"]
    torch.manual_seed(config["seed"])
    train, test, classes = _loaders(job)
    network = models.mobilenet_v2(dropout=recipe["model"]["dropout"] or 0.0)
    network.load_state_dict(torch.load(job["weights"], weights_only=True))
    frozen = config["layers"] == "head"
    network.requires_grad_(not frozen)
    network.classifier[1] = nn.Linear(network.last_channel, classes)
    parameters = network.classifier.parameters() if frozen else network.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=config["learning_rate"], weight_decay=config["weight_decay"])
    steps = config["epochs"] * len(train)
    warm = max(int(steps * config["warm_up"]), 1)
    rates = [LinearLR(optimizer, 1 / warm, 1.0, warm), CosineAnnealingLR(optimizer, max(steps - warm, 1))]
    schedule = SequentialLR(optimizer, rates, [warm])
    average = None
    if config["ema"] is not None:
        average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config["ema"]), use_buffers=True)
    loss = nn.CrossEntropyLoss(label_smoothing=config["label_smoothing"])
    found: list[dict[str, float]] = []
    for _ in range(config["epochs"]):
        network.train(not frozen)
        for pictures, labels in train:
            optimizer.zero_grad()
            loss(network(pictures), labels).backward()
            optimizer.step()
            schedule.step()
            if average is not None:
                average.update_parameters(network)
        judged = average if average is not None else network
        judged.eval()
        with torch.inference_mode():
            right = sum(int((judged(pictures).argmax(1) == labels).sum()) for pictures, labels in test)
        seconds = time.monotonic() - job["begun"]
        found.append({"seconds": round(seconds, 1), "top1": round(right / len(job["keep"]), 4)})
        if seconds > job["limit_s"]:
            break
    return found


def _loaders(job: dict[str, Any]) -> tuple[DataLoader[Any], DataLoader[Any], int]:
    spec, augment = job["recipe"]["preprocess"], job["recipe"]["train"]["augment"]
    size, batch = tuple(spec["size_hw"]), job["recipe"]["train"]["batch_size"]
    resize = [transforms.Resize(spec["shorter_side"]), transforms.CenterCrop(size)]
    plain = [transforms.ToTensor(), transforms.Normalize(spec["mean"], spec["std"])]
    changes = [
        transforms.RandomAffine(augment["degrees"], (augment["translate"],) * 2, tuple(augment["scale"])),
        transforms.ColorJitter(augment["brightness"], augment["contrast"], augment["saturation"], augment["hue"]),
    ]
    augmented = datasets.ImageFolder(job["pictures"], transforms.Compose([*resize, *changes, *plain]))
    still = datasets.ImageFolder(job["pictures"], transforms.Compose([*resize, *plain]))
    place = {str(Path(path).resolve()): index for index, (path, _) in enumerate(still.samples)}
    learn, keep = ([place[path] for path in job[side]] for side in ("learn", "keep"))
    workers = os.cpu_count() or 1
    train = DataLoader(
        Subset(augmented, learn), batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True
    )
    return train, DataLoader(Subset(still, keep), batch, num_workers=workers), len(still.classes)


if __name__ == "__main__":
    print(json.dumps(learn(json.load(sys.stdin))))
