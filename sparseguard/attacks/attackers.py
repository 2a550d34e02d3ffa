"""Inverse networks: from a leak ``(N, F, H', W')`` back to images ``(N, C, H, W)``.

No attacker is best everywhere, so an attack trains the whole family on the same batches and reports the best by its
error on the validation images. ``dense`` has the shape of the networks in the released code; the other two mix what
that one keeps apart.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, ...]


class Dense(nn.Module):
    """Two dense layers along the leak's last axis; with several channels, three transposed convolutions after them."""

    def __init__(self, leak: Shape, image: Shape, hidden: int) -> None:
        super().__init__()
        channels, _, columns = leak
        self.rows = nn.Sequential(nn.Linear(columns, hidden), nn.ReLU(), nn.Linear(hidden, image[2]))
        self.mix: nn.Module = nn.Identity()
        if channels != image[0]:
            wide = min(max(hidden // 8, 4), 16)
            self.mix = nn.Sequential(
                nn.ReLU(),
                nn.ConvTranspose2d(channels, wide, 5, padding=2, bias=False), nn.BatchNorm2d(wide), nn.ReLU(),
                nn.ConvTranspose2d(wide, wide, 5, padding=2, bias=False), nn.BatchNorm2d(wide), nn.ReLU(),
                nn.ConvTranspose2d(wide, image[0], 5, padding=2, bias=False),
            )  # fmt: skip

    def forward(self, leak: Tensor) -> Tensor:
        image: Tensor = self.mix(self.rows(leak))
        return image


class Conv(nn.Module):
    """A dense layer along the last axis restores the columns, then 3x3 convolutions with batch norm."""

    def __init__(self, leak: Shape, image: Shape, hidden: int) -> None:
        super().__init__()
        channels, _, columns = leak
        wide = min(max(hidden // 4, 8), 64)
        self.columns = nn.Linear(columns, image[2])
        self.mix = nn.Sequential(
            nn.Conv2d(channels, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(),
            nn.Conv2d(wide, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(),
            nn.Conv2d(wide, image[0], 3, padding=1),
        )  # fmt: skip

    def forward(self, leak: Tensor) -> Tensor:
        image: Tensor = self.mix(self.columns(leak))
        return image


class Rows(nn.Module):
    """All channels of a row decoded together by two dense layers, then a residual convolution across rows."""

    def __init__(self, leak: Shape, image: Shape, hidden: int) -> None:
        super().__init__()
        channels, _, columns = leak
        self.image = image
        self.decode = nn.Sequential(
            nn.Linear(channels * columns, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, image[0] * image[2])
        )
        self.refine = nn.Sequential(
            nn.Conv2d(image[0], 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, image[0], 5, padding=2)
        )

    def forward(self, leak: Tensor) -> Tensor:
        rows = leak.transpose(1, 2).flatten(2)  # (N, H', F * W')
        image = self.decode(rows).unflatten(2, (self.image[0], self.image[2])).transpose(1, 2)
        refined: Tensor = image + self.refine(image)
        return refined


class Attacker(nn.Module):
    """One inverse network behind the standardisation of the leaks it was trained on.

    Args:
        network: one of the classes above.
        leak: shape of one leak, ``(F, H', W')``; other shapes are viewed as such.
        image: shape of one image, ``(C, H, W)``.
        mean, std: of the training leaks.
    """

    def __init__(self, network: type[nn.Module], leak: Shape, image: Shape, hidden: int, mean: float, std: float):
        super().__init__()
        self.leak = (leak if len(leak) == 3 else (1,) * (3 - len(leak)) + tuple(leak))[-3:]
        self.image, self.mean, self.std = image, mean, std
        self.network = network(self.leak, image, hidden)

    def forward(self, leak: Tensor) -> Tensor:
        """Images ``(N, C, H, W)``, not clipped."""
        output: Tensor = self.network((leak.reshape(-1, *self.leak) - self.mean) / self.std)
        if output.shape[-2:] != self.image[-2:]:
            output = F.interpolate(output, size=self.image[-2:], mode="bilinear", align_corners=False)
        return output


ATTACKERS: dict[str, type[nn.Module]] = {"dense": Dense, "conv": Conv, "rows": Rows}
