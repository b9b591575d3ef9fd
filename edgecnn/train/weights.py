"""State dicts from files, and into networks."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgecnn.errors import InputError, missing_extra

# Where training loops keep the weights; averaged ones first, since they are what such a training is judged by.
_WRAPPERS = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema"),
    *("state_dict", "model_state_dict", "model", "module", "net", "network", "params"),
)
# DataParallel's, torch.compile's, and those of the usual training frameworks.
_PREFIXES = ("module.", "_orig_mod.", "model.")
# Counters that inference does not read: BatchNorm's, which older checkpoints do not have, and a profiler's.
_COUNTER = ".num_batches_tracked"
_COUNTERS = (_COUNTER, "total_ops", "total_params")
_NAMED = 3

State = dict[str, torch.Tensor]


def read_state_dict(path: Path) -> State:
    """The tensors of a checkpoint (``.safetensors``, or Torch's own format) under the names they have there.

    They may be a value of the file's dictionary (``state_dict``, ``model``, ``ema`` and the like). Torch's files are
    read with ``weights_only=True``: a pickle that would run code is refused.

    Raises:
        InputError: The file is missing, damaged, or not safe to load.
        EnvironmentMissing: The file is ``.safetensors``, and the package for it is not installed.
    """
    if not path.is_file():
        raise InputError(f"weights {path}: no such file", "check the path")
    content: Any = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    while isinstance(content, dict):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(value, torch.Tensor) for value in content.values())
    ):
        raise InputError(
            f"weights {path}: no state dict in it", "save the state dict alone: torch.save(model.state_dict(), path)"
        )
    return {str(name): value for name, value in content.items()}


def fill(module: nn.Module, state: Mapping[str, torch.Tensor], named: str, network: str) -> None:
    """Load a state dict into a network; every tensor must find its place.

    Names may carry the prefixes ``module.``, ``_orig_mod.`` and ``model.`` that wrappers of networks add. BatchNorm's
    counter of batches may be missing.

    Args:
        module: The network.
        state: Its weights.
        named: What the user calls the weights, for the message.
        network: What the user calls the network.

    Raises:
        InputError: They are not the network's; the first few that differ are named.
    """
    own = module.state_dict()
    found = {name: value for name, value in own.items() if name.endswith(_COUNTER)}
    found |= under_own_names(state, own)
    missing = [
        f"{name}: {tuple(found[name].shape)}, wanted {tuple(value.shape)}" if name in found else f"{name}: missing"
        for name, value in own.items()
        if name not in found or found[name].shape != value.shape
    ]
    unexpected = [f"{name}: not in the network" for name in found if name not in own and not name.endswith(_COUNTERS)]
    if missing or unexpected:
        first = "; ".join([*missing[:_NAMED], *unexpected[:_NAMED]])
        raise InputError(
            f"weights {named}: not those of {network}; {len(missing) + len(unexpected)} tensors differ, first {first}",
            "check the network's name, num_classes, batch_norm and arguments",
        )
    own.update({name: found[name] for name in own})
    module.load_state_dict(own)  # with the versions that it carries of its own, which torchvision's MNASNet asks for


def under_own_names(state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> State:
    """The state under the network's names, without what wrappers added; a prefix that the network itself has stays."""
    found = {name: value for name, value in state.items() if name in own}
    for name, value in state.items():
        bare = name
        while bare not in own and (prefix := next((one for one in _PREFIXES if bare.startswith(one)), None)):
            bare = bare.removeprefix(prefix)
        # What finds no place keeps its name, for the message.
        found.setdefault(bare if bare in own and bare not in found else name, value)
    return found


def with_own_classes(
    found: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], layers: Iterable[str]
) -> State:
    """Weights for a network, with its own where a layer that says its classes is for another number of them.

    Args:
        found: By the network's names.
        own: The network's.
        layers: Names of the parameters whose first size depends on the number of classes.
    """
    anew = {
        name: own[name]
        for name in layers
        if name in own and name in found and own[name].shape[1:] == found[name].shape[1:]
        if own[name].shape != found[name].shape
    }
    return {**found, **anew}


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted unpickler stumbles over damaged bytes in a dozen ways
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            raise InputError(
                f"weights {path}: the file holds more than tensors, and loading it could run code",
                "save the state dict alone: torch.save(model.state_dict(), path)",
            ) from None
        raise InputError(
            f"weights {path}: not a Torch checkpoint, or damaged ({path.stat().st_size} bytes)", "copy it again"
        ) from None


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise missing_extra("safetensors", "timm") from None
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError):
        raise InputError(f"weights {path}: not a safetensors file, or damaged", "copy it again") from None
