"""The inputs that the options name: pictures through a preprocess, texts through a tokenizer, or ready arrays."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluoroscope.cli.console import Console
from fluoroscope.errors import InputError, OptionError

if TYPE_CHECKING:
    from fluoroscope.model.inputs import Inputs
    from fluoroscope.model.preprocess import ImagePreprocess
    from fluoroscope.model.subject import Subject

__all__ = ["Pictures"]

UNSIZED = ("unit", "signed")
"""Scalings that no data set's size of pictures goes with."""


@dataclass(frozen=True)
class Pictures:
    """What the network is given, and how pictures become its input."""

    images: tuple[Path, ...] = ()
    inputs: Path | None = None
    texts: tuple[str, ...] = ()
    preprocess: str | None = None
    size: tuple[int, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: str | None = None
    limit: int = 8

    @property
    def given(self) -> bool:
        """Whether there is any input."""
        return bool(self.images or self.texts) or self.inputs is not None

    def prepared(self, subject: Subject, console: Console) -> tuple[Subject, Inputs]:
        """The network with its preprocess, and its input. What had to be assumed is told.

        Raises:
            InputError: no input was named, or it can't be read.
            OptionError: the preprocess is not complete.
            NumericalError: NaN or infinity in the input.
        """
        from fluoroscope.reporting import first_inputs

        bare, subject = subject, self.dressed(subject)
        data, note = first_inputs(self.source(subject), subject, self.limit)
        first = "input" if self.limit == 1 else f"{self.limit} inputs"
        more = [f"only the first {first}; --limit takes more"] if note else []
        for text in [*self.assumed(bare, subject), *data.notes, *more]:
            console.note(f"note: {text}")
        return subject, data

    def assumed(self, bare: Subject, subject: Subject) -> list[str]:
        """That the size of pictures is a guess, where a scaling was named and no size, and none is known."""
        from fluoroscope.model.preprocess import ImagePreprocess

        own = (
            isinstance(bare.preprocess, ImagePreprocess) if self.preprocess is None else self.preprocess not in UNSIZED
        )
        known = self.size is not None or own or (bare.input_shape is not None and len(bare.input_shape) == 3)
        if known or not self.images or not isinstance(subject.preprocess, ImagePreprocess):
            return []
        _, height, width = subject.preprocess.shape
        return [f"pictures are brought to {height} x {width}, a guess: --size PIXELS says what the network takes"]

    def source(self, subject: Subject) -> Any:
        """What the library is given as inputs. Raises InputError."""
        named = {"--images": bool(self.images), "--text": bool(self.texts), "--inputs": self.inputs is not None}
        if sum(named.values()) > 1:
            got = " and ".join(name for name, there in named.items() if there)
            raise OptionError("pictures, texts or ready inputs, but not several of them", got=got, expected="one")
        if self.texts:
            return self._read(subject)
        if self.inputs is not None:
            return _arrays(self.inputs)
        if not self.images:
            raise InputError(
                "nothing to look at was given",
                expected="--images PATH (file or folder), --text TEXT, or --inputs FILE.npy",
            )
        for path in self.images:
            if not path.exists():
                raise InputError(f"there is no file or folder {path}")
        if subject.preprocess is None:
            raise InputError(
                "it is not known how pictures become this network's input",
                expected="--preprocess NAME [--size PIXELS], or --size, --mean and --std",
                remedy="--preprocess imagenet for ImageNet scaling at 224, or a factory that returns it too",
            )
        return list(self.images)

    def _read(self, subject: Subject) -> list[str]:
        if subject.tokenizer is None:
            raise InputError(
                "it is not known how this network reads texts",
                got="a network without a tokenizer",
                remedy="load it with hf:NAME-or-folder, or have the factory return fs.Subject(model, tokenizer=...)",
            )
        return list(self.texts)

    def dressed(self, subject: Subject) -> Subject:
        """The network with the preprocess that the options ask for; its own where they ask for none."""
        if all(value is None for value in (self.preprocess, self.size, self.mean, self.std, self.channels)):
            return subject
        chosen = self._chosen(subject)
        return dataclasses.replace(
            subject, preprocess=chosen, invert=chosen.invert, input_shape=subject.input_shape or chosen.shape
        )

    def _chosen(self, subject: Subject) -> ImagePreprocess:
        from fluoroscope.model.preprocess import ImagePreprocess, preset

        own = subject.preprocess
        if self.preprocess is not None:
            base = preset(self.preprocess)
        elif isinstance(own, ImagePreprocess):
            base = own
        elif self.mean is not None and self.std is not None:
            base = ImagePreprocess()
        else:
            raise OptionError(
                "it is not said how the values of pictures are scaled",
                expected="--preprocess NAME, or --mean and --std together",
                remedy="--preprocess imagenet is the usual one for ImageNet networks",
            )
        changes = self._changes(subject)
        self._check_scaling({"mean": base.mean, "std": base.std, "channels": base.channels, **changes})
        return dataclasses.replace(base, **changes)

    def _check_scaling(self, values: dict[str, Any]) -> None:
        """Say which flags are missing where the channels are asked for, and not how they are scaled."""
        channels = values["channels"]
        if self.channels is None or {len(values["mean"]), len(values["std"])} <= {1, channels}:
            return
        raise OptionError(
            f"it is not said how pictures of {channels} channel{'s' * (channels != 1)} are scaled",
            got=f"--channels {channels}, and a mean and standard deviation of {len(values['mean'])} channels",
            expected="--mean and --std beside it, the training's, with a number for each channel",
            remedy="--preprocess unit where the training divided by 255 only",
        )

    def _changes(self, subject: Subject) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if self.size is not None:
            if len(self.size) > 2:
                raise OptionError("--size is one side, or height,width", got=",".join(map(str, self.size)))
            changes["size"] = self.size[0] if len(self.size) == 1 else self.size
        elif subject.input_shape is not None and len(subject.input_shape) == 3:
            changes["size"] = subject.input_shape[1:]
        if self.channels is not None:
            changes["channels"] = int(self.channels)
        return {**changes, **{k: v for k, v in (("mean", self.mean), ("std", self.std)) if v is not None}}


def _arrays(file: Path) -> Any:
    """The array of an ``.npy`` file, or the arrays of an ``.npz`` file by name; nothing in them is run."""
    import numpy as np

    from fluoroscope.model.loading.saved_file import existing_file

    existing_file(str(file))
    if file.suffix.lower() in (".csv", ".tsv", ".txt"):
        raise InputError(
            f"{file} is a table of text, and it is not known which columns the network takes",
            expected="a .npy or .npz file of numbers (N, ...), scaled as the network wants them",
            remedy="np.save('inputs.npy', np.loadtxt(file, delimiter=',', skiprows=1))",
        )
    try:
        loaded = np.load(file, allow_pickle=False)
        found = dict(loaded) if hasattr(loaded, "files") else loaded
    except Exception as error:  # broken zips and broken headers come as many kinds
        pickled = isinstance(error, ValueError) and "pickle" in str(error)
        raise InputError(
            f"{file} can't be read as arrays",
            got="neither numbers nor an archive of them" if pickled else f"{type(error).__name__}: {error}",
            expected="a .npy or .npz file of numbers (N, ...)",
        ) from error
    return found
