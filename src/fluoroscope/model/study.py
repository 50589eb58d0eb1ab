"""Study: a network being looked at. It guards, runs, counts; everything that touches the network goes through it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fluoroscope.errors import FluoroscopeError, InputError, LayerError, ModelError, NumericalError, nearest
from fluoroscope.model.fitting import fitting
from fluoroscope.model.guard import Guard, seed_all
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.memory import out_of_memory
from fluoroscope.model.modes import ForwardTap, ReadTap, TailTap
from fluoroscope.model.outputs import first_tensor, last_real, main_output
from fluoroscope.model.positions import Layout, layout_of
from fluoroscope.model.probe import Probe, cached_probe, remember, structure_of
from fluoroscope.model.program.unchanged import Unchanged
from fluoroscope.model.series import AxisWatch, check_reading, in_doubt, is_series, series_axes
from fluoroscope.model.subject import Subject, fingerprint
from fluoroscope.model.walk import every_module, followed, named_modules

__all__ = ["LayerName", "Study"]


class LayerName(str):
    """A layer's name, ``block.conv`` or ``block.relu@1`` for the second call of a module that runs several times."""

    __slots__ = ()

    @property
    def module(self) -> str:
        """The part before ``@``."""
        return self.rpartition("@")[0] if self.call is not None else str(self)

    @property
    def call(self) -> int | None:
        """The number after ``@``, None for the last call."""
        _, at, number = self.rpartition("@")
        return int(number) if at and number.isdigit() else None


class Study:
    """Context in which a network is in eval mode, frozen, seeded and guarded; afterwards it is as before.

    ``forwards`` and ``backwards`` count examples that went through the network; ``notes`` collects what had to be
    assumed; ``proofs`` has what was shown to hold for the network, which nobody else changes meanwhile; ``quantized``
    names what has no gradient.
    """

    def __init__(self, subject: Subject, *, seed: int = 0) -> None:
        self.subject, self.seed = subject, seed
        self.module = subject.module
        self.forwards, self.backwards = 0.0, 0.0
        self.notes: list[str] = list(subject.notes)
        self.facts: dict[str, Any] = {}
        self.proofs: list[Unchanged] = []
        self.quantized: str | None = None
        self.started = time.perf_counter()

    def __enter__(self) -> Self:
        modules = every_module(self.subject.model)
        parameters = [p for m in modules for p in m._parameters.values() if p is not None]
        if any(is_lazy(p) for p in parameters):
            named: list[tuple[str, Any]] = list(self.module.named_parameters())
            lazy = [n for n, p in named if is_lazy(p)]
            raise ModelError(
                "the network has layers that were never run, so their shapes are unknown",
                got=", ".join(lazy[:3]),
                remedy="run it once on an example: model(x)",
            )
        self._stack = ExitStack()
        self._stack.enter_context(torch.inference_mode(False))
        self._stack.enter_context(torch.enable_grad())
        if any("_orig_mod" in m._modules or m._compiled_call_impl is not None for m in modules):
            self._stack.enter_context(torch.compiler.set_stance("force_eager"))
        quantized = next((m for m in modules if _quantized(m)), None)
        self.quantized = f"a quantized {type(quantized).__name__}" if quantized is not None else None
        self.trainable = {p for p in parameters if p.requires_grad}
        if (
            torch.backends.mha.get_fastpath_enabled()
        ):  # the fused path of nn.MultiheadAttention hides what happens inside
            torch.backends.mha.set_fastpath_enabled(False)
            self._stack.callback(torch.backends.mha.set_fastpath_enabled, True)
        guard = self._stack.enter_context(Guard(self.module))
        guard.prepare()
        # Taken before a forward changes an attribute, such as a counter.
        self.modules = guard.modules
        self._structure = structure_of(self.modules), self.subject.layout
        seed_all(self.seed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def note(self, text: str) -> None:
        """Add something that had to be assumed, once."""
        if text not in self.notes:
            self.notes.append(text)

    def note_calls(self, layer: LayerName, runs: int) -> None:
        """Say which call of a layer is meant, where it ran several times and none was named."""
        if layer.call is None and runs > 1:
            self.note(f"layer {layer!r} ran {runs} times; its last call is used (name another: '{layer}@0')")

    @contextmanager
    def noting(self) -> Iterator[list[str]]:
        """What is noted within the block, also what was noted before."""
        before, self.notes = self.notes, []
        fresh = self.notes
        try:
            yield fresh
        finally:
            self.notes = before
            for text in fresh:
                self.note(text)

    @property
    def fingerprint(self) -> str:
        """The network's, see :func:`~fluoroscope.model.subject.fingerprint`; of one that was proved to be unchanged it
        is known.
        """
        if not self.proofs:
            return fingerprint(self.module)
        proof = self.proofs[0]
        if proof.mark is None:
            proof.mark = fingerprint(self.module)
        return proof.mark

    # ------------------------------------------------------------------ layers

    @cached_property
    def named(self) -> dict[str, nn.Module]:
        """All modules by all their names, "" for the network itself."""
        return named_modules(self.module)

    def layer(self, name: str | nn.Module) -> LayerName:
        """The checked name of a layer given by name or by module. Raises LayerError with the nearest names."""
        modules = self.named
        if isinstance(name, nn.Module):
            found = next((n for n, m in modules.items() if m is name), None)
            if not found:
                raise LayerError(
                    "the layer is not part of the network" if found is None else "the network itself is no layer of it",
                    got=type(name).__name__,
                    expected="one of its modules",
                    remedy="name it: fs.layers(model) lists all",
                )
            return self._followed(LayerName(found))
        made = LayerName(name)
        if made.module not in modules or not made.module:
            raise LayerError(
                f"the network has no layer {name!r}",
                expected=f"one of {len(modules) - 1} layers",
                nearest=nearest(made.module, [m for m in modules if m]),
                remedy="list them: fs.layers(model), or fluoroscope layers MODEL",
            )
        return self._followed(made)

    def _followed(self, layer: LayerName) -> LayerName:
        """``layer`` itself. Raises LayerError where it is TorchScript, which takes no hooks."""
        if layer.module and isinstance(self.submodule(layer), torch.jit.ScriptModule):
            raise LayerError(
                f"layer {str(layer)!r} is TorchScript, which hides what it computes from Python",
                expected="a layer that is an eager torch.nn.Module",
                remedy="name a layer outside of it, or build the network without torch.jit.script",
            )
        return layer

    def submodule(self, name: LayerName) -> nn.Module:
        """The module a layer name stands for (also under an alias)."""
        return self.module.get_submodule(name.module)

    # ------------------------------------------------------------------ running

    def run(self, inputs: Inputs) -> Any:
        """The network's whole output. Raises InputError where its forward fails (out of memory passes as it is)."""
        self.forwards += inputs.count
        try:
            return self.module(*inputs.args, **inputs.kwargs)
        except FluoroscopeError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            shapes = ", ".join(str(tuple(t.shape[1:])) for t in inputs.tensors)
            text = str(error).strip() or "no message"
            raise InputError(
                f"the network failed on this input: {type(error).__name__}",
                got=f"{inputs.count} example{'s' * (inputs.count != 1)} of shape {shapes}; {text}",
                remedy=fitting(self.module, inputs.main, text),
            ) from error

    def scored(self, inputs: Inputs, watch: ForwardTap | TailTap | None = None) -> tuple[Any, torch.Tensor]:
        """(whole output, tensor of scores): logits where the output is a softmax or sigmoid of them, seen by ``watch``.

        Raises:
            NumericalError: no number is left in the scores, naming the first layer that gave NaN.
        """
        with watch if watch is not None else ForwardTap() as tap:
            output = self.run(inputs)
        scores = main_output(output)
        logits = tap.logits(scores)
        if logits is not None:
            self.note("the network ends in a softmax or sigmoid; scores are the logits before it")
            scores = logits
        if not scores.is_floating_point():
            raise ModelError(
                "the network's answer is not a score",
                got=str(scores.dtype),
                expected="floating-point scores",
                remedy="remove argmax from forward()",
            )
        return output, last_real(scores, inputs.real)

    def check_finite(self, scores: torch.Tensor, inputs: Inputs) -> None:
        """Raise NumericalError where a score is NaN or infinite, naming the first layer that gave one."""
        finite = torch.isfinite(scores)
        if not bool(finite.all()):
            raise NumericalError(
                "the network's output holds NaN or infinity",
                got=f"{int((~finite).sum())} of {finite.numel()} scores",
                nearest=self._first_nonfinite(inputs),
                remedy="check the weights and the scaling of the input; half precision overflows beyond 65,504",
            )

    def _first_nonfinite(self, inputs: Inputs) -> str | None:
        found: list[str] = []

        def look(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, args: Any, output: Any) -> None:
                tensor = first_tensor(output)
                if not found and tensor is not None and not bool(torch.isfinite(tensor).all()):
                    found.append(f"first seen after layer {name or type(module).__name__!r}")

            return hook

        with torch.no_grad(), self.hooked([(m, look(n)) for n, m in followed(self.module)]):
            self.run(inputs)
        return found[0] if found else None

    @contextmanager
    def hooked(self, hooks: list[tuple[nn.Module, Callable[..., Any]]]) -> Iterator[None]:
        """Forward hooks for the length of a block."""
        handles = [module.register_forward_hook(hook) for module, hook in hooks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    # ------------------------------------------------------------------ probing

    def probe(self, inputs: Inputs, *, exact: bool = False) -> Probe:
        """Which modules run for such inputs, with what outputs: one forward of one example, remembered by the
        network. ``exact``: of these very inputs' first example, where what runs may depend on it.
        """
        known = cached_probe(self.module, self._structure, inputs.tensors)
        if known is not None and not (exact and known.reads):
            return known
        one = inputs.part(0, 1)
        probe = Probe(tuple(one.main.shape))
        for tensor in one.tensors:
            probe.knows(tensor)

        def look(name: str) -> Callable[..., None]:
            return lambda module, args, output: probe.seen(name, module, output)

        named = followed(self.module)
        with ExitStack() as watched, torch.no_grad(), self.hooked([(m, look(n)) for n, m in named]):
            for _, module in named:
                handle = module.register_forward_pre_hook(
                    lambda module, args, kwargs: probe.begins(args, kwargs), with_kwargs=True
                )
                watched.callback(handle.remove)
            axes, taken = watched.enter_context(AxisWatch(one.tensors)), watched.enter_context(ReadTap())
            output = first_tensor(self.run(one))
        probe.reads, probe.readings = taken.read, axes.found
        found = series_axes(one.tensors, axes.found, self.subject.layout)
        probe.lay_out(dataclasses.replace(one, axes=found).axes_of(one.main))
        probe.output_shape = tuple(output.shape) if output is not None else ()
        probe.begun.clear()  # of modules whose failure the network caught
        probe.known.clear()
        remember(self.module, self._structure, inputs.tensors, probe)
        return probe

    def placed(self, inputs: Inputs) -> Inputs:
        """The inputs with the axes of series (N, ., .): those of the subject's layout, else what the network's first
        operations want. What had to be assumed is noted.

        Raises:
            InputError: the network takes its examples along another axis than the first, or the layout does not fit.
        """
        layout, tensors = self.subject.layout, inputs.tensors
        if inputs.axes or not (layout or any(map(in_doubt, tensors))):
            return inputs
        found = self.probe(inputs).readings if layout is None else {}
        axes = series_axes(tensors, found, layout)
        if layout is not None and not any(axes):
            raise InputError(
                "the layout does not fit the input",
                got=f"layout {layout!r}, an input of shape {tuple(inputs.main.shape)}",
                expected=f"real numbers with {len(layout)} axes",
            )
        for number in [i for i, t in enumerate(tensors) if is_series(t) and layout is None]:
            check_reading(found.get(number), tensors[number], self.note)
        return dataclasses.replace(inputs, axes=axes)

    def layout(self, inputs: Inputs, layer: LayerName, shape: tuple[int, ...]) -> Layout | None:
        """How the output (N, ...) of a layer is laid out; None where it has no layout."""
        probe = self.probe(inputs)
        call = probe.called(layer.module, layer.call)
        alike = next((c for c in reversed(probe.calls) if c.shape[1:] == shape[1:]), None)
        if call is not None and alike is not None:
            return call.layout if call.shape[1:] == shape[1:] else alike.layout
        return layout_of(shape, tuple(inputs.main.shape), inputs.axes_of(inputs.main))


def _quantized(module: nn.Module) -> bool:
    """Whether a layer computes with whole numbers; those that only round as in quantized training have gradients."""
    kind = type(module).__module__
    return kind.startswith("torch.ao.nn.") and ".quantized" in kind
