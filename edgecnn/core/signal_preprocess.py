"""The description of what happens to a signal before the network sees it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, PositiveInt, Tag, model_validator

from edgecnn.core.preprocess import Preprocess


class SignalPreprocess(BaseModel):
    """From a signal of any length to windows of it, the network's float32 inputs ``(1, channels, window)``.

    In this order: resample, cut into windows, subtract ``mean``, divide by ``std``. What integer WAV files hold is
    divided by their full scale before, so that it is between -1 and 1. ``edgecnn.signals`` carries it out; training,
    calibration, evaluation and the runtime all use the same functions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sample_rate: float = Field(
        gt=0,
        description="samples a second that the network takes. WAV files of another rate are resampled; CSV and NPY "
        "files state none, and are taken to have this one",
    )
    window: PositiveInt = Field(description="samples that the network sees at once, for each channel")
    hop: PositiveInt | None = Field(
        default=None, description="samples from a window's begin to the next one's; none: window, side by side"
    )
    channels: PositiveInt = Field(
        default=1, description="that a file must have; with 1 those of a WAV file with several are averaged"
    )
    columns: tuple[str, ...] = Field(
        default=(), description="names of a CSV file's columns that are the channels, in this order; none: all of them"
    )
    mean: tuple[float, ...] = Field(default=(0.0,), description="one a channel, or one for all")
    std: tuple[float, ...] = Field(default=(1.0,), description="one a channel, or one for all")

    @model_validator(mode="after")
    def _consistent(self) -> SignalPreprocess:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ValueError(f"{name} wants 1 value or {self.channels}, one a channel; it has {len(values)}")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        if self.columns and len(self.columns) != self.channels:
            raise ValueError(f"columns names {len(self.columns)}, and there are {self.channels} channels")
        return self

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of the network's input, without the batch."""
        return (self.channels, self.window)

    @property
    def step(self) -> int:
        """Samples from a window's begin to the next one's."""
        return self.hop or self.window

    @property
    def embed(self) -> None:
        """Nothing of it is done inside the network."""
        return

    @property
    def outside(self) -> SignalPreprocess:
        """Itself: see ``Preprocess.outside``."""
        return self


def _kind(value: Any) -> str:
    signal = isinstance(value, SignalPreprocess) or (isinstance(value, dict) and not value.keys().isdisjoint(_SIGNALS))
    return SignalPreprocess.__name__ if signal else Preprocess.__name__


# By either of them a recipe says that its network takes signals.
_SIGNALS = ("sample_rate", "window")

InputSpec = Annotated[
    Annotated[Preprocess, Tag(Preprocess.__name__)] | Annotated[SignalPreprocess, Tag(SignalPreprocess.__name__)],
    Discriminator(_kind),
]
"""What happens before the network, to a picture or to a signal."""


def of_pictures(spec: InputSpec) -> Preprocess:
    """The preprocessing of what only pictures have: boxes, masks, vectors, camera frames. Recipes see to it."""
    assert isinstance(spec, Preprocess)
    return spec
