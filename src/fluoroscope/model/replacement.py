"""Replacement: the network's scores for one example with parts replaced by a baseline, at the lowest cost that is
right.

Images go through incremental inference where the whole network is understood and it saves work; everything else, and
whatever does not agree with whole forwards on some of the regions, goes through whole forwards, as fast as they can be
had.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from fluoroscope.model.fast_copy import close
from fluoroscope.model.fast_forward import ROUGH, FastForward, ModuleForward, halves, told_apart
from fluoroscope.model.inputs import Inputs
from fluoroscope.model.memory import out_of_memory
from fluoroscope.model.outputs import main_output
from fluoroscope.model.program.compiling import Unsupported, compiled
from fluoroscope.model.program.incremental import Incremental
from fluoroscope.model.program.operations import Operations, recorded
from fluoroscope.model.program.patches import Clean, Place
from fluoroscope.model.program.reach import Numbers
from fluoroscope.model.program.regions import Regions
from fluoroscope.model.study import Study

__all__ = ["Answer", "Replacement"]

Answer = Callable[[Any, torch.Tensor], torch.Tensor]
"""(whole output, scores) of B rows -> what is asked of them (B, K)."""

BATCH_BYTES = 1e8
MOST_ROWS = 512
FEW_REGIONS = 8
CHECKED = 4
WORTH = 0.8


class Replacement:
    """One example ``one`` (count 1), its ``base`` (1, ...), the axis of channels (None for tables), and what is asked.

    ``whole_output`` says that what is asked is read from more than the tensor of scores.
    """

    def __init__(
        self, study: Study, one: Inputs, base: torch.Tensor, channel: int | None, answer: Answer,
        *, whole_output: bool = False, precision: str = "float32",
    ) -> None:  # fmt: skip
        self.study, self.base, self.channel, self.answer = study, base, channel, answer
        self.one = one.with_main(one.main.clone())  # of its own, for the network may work in place
        self.image = self.one.main
        self.whole_output, self.precision = whole_output, precision

    @torch.no_grad()
    def falls(self, regions: Regions) -> torch.Tensor:
        """By how much the answer (K) falls when each region is replaced: (n, K). Regions that change nothing fall
        by 0.
        """
        change = self.image != self.base
        change = change[0] if self.channel is None else change.any(self.channel)[0]
        touched = np.flatnonzero(regions.touched(change))
        found = self._incremental(regions, touched)
        own, covered = found if found is not None else self._whole(regions, touched)
        falls = own.new_zeros(len(regions.boxes), own.shape[1])
        falls[torch.from_numpy(touched).to(own.device)] = own - covered
        return falls

    def replaced(self, regions: Regions, which: Numbers) -> torch.Tensor:
        """The example (B, ...) with each of these regions replaced."""
        return torch.where(self._spread(regions.masks(which)), self.base, self.image)

    def _spread(self, masks: torch.Tensor) -> torch.Tensor:
        masks = masks.to(self.image.device)
        return masks if self.channel is None else masks.unsqueeze(self.channel)

    # ------------------------------------------------------------------ incrementally

    def _incremental(self, regions: Regions, touched: Numbers) -> tuple[torch.Tensor, torch.Tensor] | None:
        """(own answer, answers), or None where whole forwards are right or better."""
        image, study = self.image, self.study
        if (
            image.ndim != 4
            or self.channel != 1
            or image.dtype not in (torch.float32, torch.float64)
            or len(touched) < FEW_REGIONS
        ):
            return None
        (output, scores), record = self._recorded()
        main = main_output(output)
        numbers = [n for n in (record.number(main), record.number(scores)) if n is not None]
        if len(numbers) < 2 or (self.whole_output and not isinstance(output, torch.Tensor)):
            study.facts["incremental"] = "no: " + (record.reason or "more is read than what the record shows")
            return None
        try:
            program = compiled(record, list(dict.fromkeys(numbers)))
        except Unsupported as reason:
            study.facts["incremental"] = f"no: {reason}"
            return None
        program = program.with_wide_tail() if self.halved else program
        engine = Incremental(program, record, regions.boxes[touched])
        share = engine.plan.share
        if share > WORTH:
            study.facts["incremental"] = f"no: it would save {1 - share:.0%}"
            return None
        own = [v.to(image.dtype) for v in engine.unchanged()] if self.halved else [main, scores]
        del record
        answers = [v.to(image.dtype) for v in engine.run(self._patches(regions, touched))]
        study.forwards += share * len(touched)
        if not self._agree(regions, touched, answers[-1]):
            study.note("computing changed regions only did not give the network's answers; whole forwards were run")
            study.facts["incremental"] = "no: it did not agree with whole forwards"
            return None
        study.facts.update({"incremental": "yes", "share_of_forward": round(share, 4)})
        return self._asked(own[0], own[-1]), self._asked(answers[0], answers[-1])

    @property
    def halved(self) -> bool:
        """Whether the many forwards run in bfloat16."""
        return self.precision == "bfloat16"

    def _recorded(self) -> tuple[tuple[Any, torch.Tensor], Operations]:
        """The forward of the unchanged example, in the format of all the others."""
        if not self.halved:
            return recorded(lambda: self.study.scored(self.one), self.image)
        try:
            run = ModuleForward(self.study, copy.deepcopy(self.study.module).to(torch.bfloat16))
            low = self.one.map(halves)
            return recorded(lambda: run(low), low.main)
        except (RuntimeError, TypeError) as error:
            if out_of_memory(error):
                raise
            return self.study.scored(self.one), Operations(reason=f"not in bfloat16: {error}")

    def _patches(self, regions: Regions, touched: Numbers) -> Callable[[Numbers, Place], torch.Tensor]:
        kind = torch.bfloat16 if self.halved else self.image.dtype
        image, base = Clean(self.image.to(kind)), Clean(self.base.expand_as(self.image).to(kind))

        def patches(which: Numbers, place: Place) -> torch.Tensor:
            mask = self._spread(regions.masks_at(touched[which], place))
            return torch.where(mask, base.at(None, place, place), image.at(None, place, place))

        return patches

    def _agree(self, regions: Regions, touched: Numbers, scores: torch.Tensor) -> bool:
        """Whether whole forwards of the network itself give the same for some of the regions, drawn at random."""
        drawn = np.random.default_rng(self.study.seed).permutation(len(touched))[:CHECKED]
        expected = torch.cat(
            [self.study.scored(self._inputs(self.replaced(regions, touched[i : i + 1])))[1] for i in drawn]
        )
        found = scores[torch.from_numpy(drawn).to(scores.device)]
        if not self.halved:
            return close(found, expected)
        apart = told_apart(found, expected)
        self.study.facts.update({"precision": self.precision, "precision_difference": apart})
        return apart <= ROUGH

    # ------------------------------------------------------------------ whole forwards

    def _whole(self, regions: Regions, touched: Numbers) -> tuple[torch.Tensor, torch.Tensor]:
        study = self.study
        probe = self._inputs(torch.cat([self.image, self.base.expand_as(self.image)]))
        network: FastForward | Study = study
        if len(touched) >= FEW_REGIONS or self.precision != "float32":
            network = FastForward(study, probe, self.precision)
        if isinstance(network, FastForward) and network.note:
            study.note(network.note)
        own = self._asked(*network.scored(self.one))
        size, start, parts = self._rows(), 0, [own[:0]]
        while start < len(touched):
            which = touched[start : start + size]
            try:
                parts.append(self._asked(*network.scored(self._inputs(self.replaced(regions, which)))))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or size == 1:
                    raise
                size = max(1, size // 2)
                study.note(f"memory ran out; batches of regions were cut to {size}")
                continue
            start += len(which)
        return own, torch.cat(parts)

    def _asked(self, output: Any, scores: torch.Tensor) -> torch.Tensor:
        found = self.answer(output, scores)
        return found if found.ndim == 2 else found[:, None]

    def _inputs(self, main: torch.Tensor) -> Inputs:
        """The arguments for variants (B, ...) of the main input."""
        times = len(main)
        changed = self.one.repeated(times).with_main(main)
        return dataclasses.replace(changed, count=times, names=(), features=())

    def _rows(self) -> int:
        """Variants in a batch: as many as let the largest layer's output stay near the caches."""
        calls = self.study.probe(self.one).calls
        largest = max([self.image.numel(), *(int(np.prod(c.shape[1:])) for c in calls)])
        return int(np.clip(BATCH_BYTES / (2 * largest * self.image.element_size()), 1, MOST_ROWS))
