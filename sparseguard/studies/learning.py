"""Learning a dictionary from images alone, and what it gains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import whole
from ..sparse.layer import SparseCoding2d


@dataclass(frozen=True)
class Learning:
    """A dictionary's way.

    Attributes:
        before, after: the dictionary, ``(F, C, kh, kw)``.
        updates: updates after which the energy was measured, ``(T,)``; the first is 0.
        energy: mean energy of eq. 1 of the fresh images over that of their zero codes, ``(T,)``.
        dead: features that were active nowhere during all updates.
        use: share of positions of the fresh images at which each feature is active in the end, ``(F,)``.
    """

    before: Tensor
    after: Tensor
    updates: Tensor
    energy: Tensor
    dead: list[int]
    use: Tensor


@torch.no_grad()
def learn_dictionary(
    layer: SparseCoding2d, images: Tensor, fresh: Tensor, updates: int, batch_size: int = 16, every: int = 10
) -> Learning:
    """Train the layer's dictionary in place by :meth:`SparseCoding2d.learn`; batches from torch's global generator.

    Args:
        images: ``(N, C, H, W)``, learned from.
        fresh: ``(M, C, H, W)``, never learned from: what the energy is measured on.
        updates: from 1 on.
        every: updates between two measurements.

    Example:
        >>> found = learn_dictionary(SparseCoding2d(1, 4), torch.rand(8, 1, 9, 9), torch.rand(4, 1, 9, 9), updates=3)
        >>> found.updates.tolist(), found.energy.shape
        ([0, 3], torch.Size([2]))
    """
    whole("updates", updates)
    zero = 0.5 * layer.canvas(fresh).square().sum((1, 2, 3)).mean()
    before, layer_codes = layer.dictionary.detach().clone(), layer(fresh)
    measured, energies = [0], [layer.energy(fresh, layer_codes).mean() / zero]
    for update in range(1, updates + 1):
        batch = images[torch.randperm(len(images))[:batch_size]]
        layer.learn(batch, layer(batch))
        if update % every == 0 or update == updates:
            layer_codes = layer(fresh)
            measured.append(update)
            energies.append(layer.energy(fresh, layer_codes).mean() / zero)
    use = (layer_codes != 0).float().mean((0, 2, 3))
    return Learning(
        before, layer.dictionary.detach().clone(), torch.tensor(measured), torch.stack(energies),
        layer.dead_features(updates), use,
    )  # fmt: skip
