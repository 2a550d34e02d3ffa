"""What an attacker asks the target: its hold-out images, and copies of them that it bends itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..bending import bent, warps
from ..ondisk import Gathering, cut

LEAKS_KEPT = 16 * 2**30
"""Bytes of leaks that are kept, on disk where memory should not hold them; beyond it every batch is queried again (the
same answer, more computing)."""
ASKED = 250
"""Images that the target is asked about at a time."""
MOST_COPIES = 15
"""Bent copies of an image that the attacker asks about at most (``benchmarks/attackers.py``)."""


class Queries:
    """Pairs of leak and image, batch by batch.

    A deterministic target is asked once an image, and the answers are kept where they fit into memory. One that answers
    the same question differently is asked anew each time, as a real attacker would, and shows fresh noise each epoch.

    Args:
        observe: leak of images ``(N, C, H, W)``: ``(N, ...)``.
        images: that the attacker has, ``(N, C, H, W)`` in [0, 1].
        most: images to ask about; where these are fewer, bent copies make up the rest, :data:`MOST_COPIES` each at
            most.

    Raises:
        ArithmeticError: a leak is not finite.
    """

    def __init__(self, observe: Callable[[Tensor], Tensor], images: Tensor, most: int = 0) -> None:
        self.observe, self.own = observe, len(images)
        copies = min(max(math.ceil(most / len(images)) - 1, 0), MOST_COPIES)
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        self.images = images
        if copies:
            asked = Gathering()
            for part in images.split(ASKED):
                asked.add(part)
            for _ in range(copies):
                for part, maps in zip(images.split(ASKED), warps(len(images), generator).split(ASKED), strict=True):
                    asked.add(bent(part, maps))
            self.images = cut(asked.done(), slice(max(most, len(images))))
        self.sample = observe(images[:ASKED])
        size = self.sample.element_size() * self.sample[0].numel() * len(self.images)
        steady = torch.equal(observe(images[:2]), observe(images[:2]))
        self._kept: Tensor | None = None
        if steady and size <= LEAKS_KEPT:
            leaks = Gathering()
            for part in self.images.split(ASKED):
                leaks.add(observe(part))
            self._kept = leaks.done()

    def leaks(self, index: Tensor) -> Tensor:
        """Leaks of the images of these numbers."""
        return self._kept[index] if self._kept is not None else self.observe(self.images[index])

    def batches(self, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Numbers of images without end; half of each batch are the attacker's own, where there are copies."""
        copies = len(self.images) - self.own
        share = min(size // 2 if copies else size, self.own)
        while True:
            for index in torch.randperm(self.own, generator=generator).split(share):
                if len(index) < share:
                    continue
                if copies:
                    other = torch.randint(self.own, len(self.images), (size - share,), generator=generator)
                    index = torch.cat([index, other])
                yield index

    def in_order(self, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Leaks and images, each once, the attacker's own before the copies, up to so many."""
        for index in torch.arange(min(most, len(self.images))).split(ASKED):
            yield self.leaks(index), self.images[index]
