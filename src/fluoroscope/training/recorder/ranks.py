"""Which processes of a distributed training measure, and which write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from fluoroscope.training.recorder.shards import sharded

__all__ = ["Ranks"]


@dataclass(frozen=True)
class Ranks:
    """This process's part: ``writes`` a file, ``measures`` (also where only others write, since the norms of a tensor
    that is spread out need all who hold a part).
    """

    rank: int = 0
    world: int = 1
    which: Literal["zero", "all"] = "zero"
    spread: bool = False

    @classmethod
    def here(cls, model: nn.Module, which: Literal["zero", "all"]) -> Ranks:
        """What ``torch.distributed`` says, where it is in use."""
        import torch.distributed as dist

        if not (dist.is_available() and dist.is_initialized()):
            return cls(which=which)
        return cls(dist.get_rank(), dist.get_world_size(), which, sharded(model, list(model.parameters())))

    @property
    def writes(self) -> bool:
        """Whether this process writes a file."""
        return self.rank == 0 or self.which == "all"

    @property
    def measures(self) -> bool:
        """Whether this process looks at tensors."""
        return self.writes or self.spread

    @property
    def together(self) -> bool:
        """Whether several processes write, so that they have to agree on a name."""
        return self.world > 1 and self.which == "all"

    @property
    def text(self) -> str:
        """For the record."""
        if self.world == 1:
            return "one process"
        whole = ", norms of whole tensors over all processes" if self.spread else ""
        return f"{'rank 0' if self.which == 'zero' else 'all ranks'} of {self.world}{whole}"

    def agreed(self, name: str | None) -> str | None:
        """The name that rank 0 gave."""
        if not self.together:
            return name
        import torch.distributed as dist

        box = [name]
        dist.broadcast_object_list(box, src=0)
        return box[0]
