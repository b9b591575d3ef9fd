"""What goes into and comes out of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

# Arrays by the names of tensors: what feeds a network, and what it gives.
Arrays = Mapping[str, npt.NDArray[Any]]


class TensorSpec(BaseModel):
    """Name, element type and shape of a network's input or output.

    Attributes:
        name: The tensor's name in the graph.
        dtype: numpy's name of the element type, such as ``float32`` or ``uint8``.
        shape: Sizes; a name stands where a size is decided at run time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(str(size) for size in self.shape)}]"
