"""A private copy of a network, whose weights can be taken from it stage by stage."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Sequence

import torch
from torch import nn

from fluoroscope.errors import ModelError
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.seeding import generator
from fluoroscope.model.study import Study
from fluoroscope.model.subject import Subject

__all__ = ["PrivateCopy", "stages_of"]


def stages_of(subject: Subject, inputs: Inputs, shares: Sequence[float]) -> list[list[str]]:
    """Names of the modules with weights of their own, from the output to the input, cut into groups: the first holds
    the share ``shares[0]`` of them, the first two together ``shares[1]``, and so on; none is empty.

    The order is that of running; modules that only hold weights (class tokens, fused projections) stand with the module
    before them.
    """
    with Study(subject) as study:
        ran = {call.name: i for i, call in reversed(list(enumerate(study.probe(inputs).calls)))}
    place, keys = -1, {}
    for name, module in subject.module.named_modules():
        if not list(module.children()):
            place = ran.get(name, place)
        if any(p is not None for p in module._parameters.values()):
            keys[name] = place
    names = sorted(keys, key=lambda n: -keys[n])
    if not names:
        raise ModelError("the network has no weights that could be randomized", got=subject.title)
    edges = sorted({0, *(max(1, round(share * len(names))) for share in shares)})
    return [names[a:b] for a, b in itertools.pairwise(edges)]


class PrivateCopy:
    """A deep copy of a network; the user's own is never touched. ``randomize`` takes what was learned from modules,
    ``restore`` gives it back.
    """

    def __init__(self, subject: Subject, draw: str, seed: int) -> None:
        try:
            module = copy.deepcopy(subject.module)
        except Exception as error:  # deepcopy runs code of the user's classes, which raises what it likes
            raise ModelError(
                "the network can't be copied, and the user's own is not to be changed",
                got=f"{type(error).__name__}: {error}",
                remedy="make copy.deepcopy(model) work",
            ) from error
        self.subject = dataclasses.replace(subject, model=module)
        self.draw, self.seed = draw, seed
        self._learned = {n: t.clone() for n, t in module.state_dict(keep_vars=False).items()}
        self._known = {name: i for i, (name, _) in enumerate(module.named_modules())}

    def restore(self) -> None:
        """All weights as they were learned."""
        with torch.no_grad():
            for name, tensor in self.subject.module.state_dict(keep_vars=False).items():
                tensor.copy_(self._learned[name])

    def randomize(self, names: list[str]) -> None:
        """Take what was learned from the modules of these names."""
        for name in names:
            module = self.subject.module.get_submodule(name)
            number = self._known[name]
            if self.draw == "initial" and callable(getattr(module, "reset_parameters", None)):
                with torch.random.fork_rng(devices=[]):
                    torch.default_generator.manual_seed(self.seed * 1_000_003 + number)
                    _reset(module)
            else:
                self._shuffle(module, number)

    def _shuffle(self, module: nn.Module, number: int) -> None:
        rng = generator(self.seed, number)
        with torch.no_grad():
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None and tensor.is_floating_point():
                    order = torch.randperm(tensor.numel(), generator=rng).to(tensor.device)
                    tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))


def _reset(module: nn.Module) -> None:
    wanted = [(p, p.requires_grad) for p in module._parameters.values() if p is not None]
    module.reset_parameters()  # type: ignore[operator]
    for parameter, value in wanted:
        parameter.requires_grad_(value)
