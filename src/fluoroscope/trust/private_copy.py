"""A private copy of a network, whose weights can be taken from it stage by stage."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fluoroscope.errors import ModelError
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.seeding import generator
from fluoroscope.model.study import Study
from fluoroscope.model.subject import Subject

__all__ = ["PrivateCopy", "stages_of"]


def stages_of(subject: Subject, inputs: Inputs, shares: Sequence[float]) -> list[list[str]]:
    """Names of what holds weights, from the output to the input, cut into groups: the first holds the share
    ``shares[0]`` of them, the first two together ``shares[1]``, and so on; none is empty.

    The order is that of running. A module that runs stands as one; tensors that a network or a container holds by
    itself (class tokens, weights that ``torch.nn.functional`` is called with) stand each after the module that was used
    before them. What is not seen in use stands with the module before it.
    """
    with Study(subject) as study:
        ran = {call.name: i for i, call in reversed(list(enumerate(study.probe(inputs).calls)))}
        with torch.no_grad(), _FirstUses() as uses:
            study.run(inputs.part(0, 1))
    place, keys, owners = -1, dict[str, tuple[int, int]](), dict[int, str]()
    for name, module in subject.module.named_modules():
        if not list(module.children()):
            place = ran.get(name, place)
        own = {key: p for key, p in module._parameters.items() if p is not None}
        for key, parameter in own.items():
            unit = f"{name}.{key}".lstrip(".") if _loose(module) else name
            keys[unit] = (place, 0)
            owners.setdefault(id(parameter), unit)
    _place_loose(keys, [owners[i] for i in uses.order if i in owners], ran)
    names = sorted(keys, key=lambda n: keys[n], reverse=True)
    if not names:
        raise ModelError("the network has no weights that could be randomized", got=subject.title)
    edges = sorted({0, *(max(1, round(share * len(names))) for share in shares)})
    return [names[a:b] for a, b in itertools.pairwise(edges)]


def _loose(module: nn.Module) -> bool:
    """Whether each tensor of a module is a layer's weight of its own: of containers, not of layers that run whole."""
    if isinstance(module, (nn.ParameterList, nn.ParameterDict)):
        return True
    whole = type(module).__module__.startswith("torch.nn.") or callable(getattr(module, "reset_parameters", None))
    return bool(list(module.children())) and not whole


def _place_loose(keys: dict[str, tuple[int, int]], used: Sequence[str], ran: dict[str, int]) -> None:
    """Put what does not run itself behind what was used before it."""
    place = -1
    for number, unit in enumerate(dict.fromkeys(used), 1):
        if unit in ran and keys[unit][1] == 0:
            place = ran[unit]
        else:
            keys[unit] = (place, number)


class _FirstUses(TorchFunctionMode):
    """The identities of the parameters that operations take, in the order of their first use."""

    def __init__(self) -> None:
        super().__init__()
        self.order: dict[int, None] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") not in ("__get__", "dim", "size", "numel", "is_floating_point"):
            self._look((*args, *(kwargs or {}).values()))
        return func(*args, **(kwargs or {}))

    def _look(self, values: Sequence[Any]) -> None:
        for value in values:
            if isinstance(value, nn.Parameter):
                self.order.setdefault(id(value))
            elif isinstance(value, (list, tuple)):
                self._look(value)


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
        loose = (name for name, _ in module.named_parameters(remove_duplicate=False))
        self._numbers = {name: i for i, name in enumerate(loose, len(self._known))}

    def restore(self) -> None:
        """All weights as they were learned."""
        with torch.no_grad():
            for name, tensor in self.subject.module.state_dict(keep_vars=False).items():
                tensor.copy_(self._learned[name])

    def randomize(self, names: list[str]) -> None:
        """Take what was learned from the modules, or loose parameters, of these names."""
        for name in names:
            if name not in self._known:
                self._shuffle([self.subject.module.get_parameter(name)], self._numbers[name])
                continue
            module, number = self.subject.module.get_submodule(name), self._known[name]
            if self.draw == "initial" and callable(getattr(module, "reset_parameters", None)):
                with torch.random.fork_rng(devices=[]):
                    torch.default_generator.manual_seed(self.seed * 1_000_003 + number)
                    _reset(module)
            else:
                self._shuffle([*module._parameters.values(), *module._buffers.values()], number)

    def _shuffle(self, tensors: Sequence[torch.Tensor | None], number: int) -> None:
        rng = generator(self.seed, number)
        with torch.no_grad():
            for tensor in tensors:
                if tensor is not None and tensor.is_floating_point():
                    order = torch.randperm(tensor.numel(), generator=rng).to(tensor.device)
                    tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))


def _reset(module: nn.Module) -> None:
    wanted = [(p, p.requires_grad) for p in module._parameters.values() if p is not None]
    module.reset_parameters()  # type: ignore[operator]
    for parameter, value in wanted:
        parameter.requires_grad_(value)
