"""Decoders: from a leak of any shape back to images ``(N, C, H, W)``.

No decoder is best everywhere, so an attack trains a family of them and takes the best by its error on the validation
images. ``dense`` has the shape of the networks in the released code; ``rows`` decodes each row of the leak alone,
``neighbours`` five rows together, ``mixer`` all of them; ``unet`` is the field's standard, a residual convolutional
network over the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, ...]
LARGEST_FOLD = 8
"""Pixels along an axis that one place of a smaller map is unfolded to at most."""


def rows_of(leak: Shape, image: Shape) -> int:
    """Rows that a leak ``(F, H', W')`` shares with the image, if it has the image's; else 1: it is decoded as a whole.

    >>> rows_of((16, 28, 500), (1, 28, 28)), rows_of((64, 8, 8), (3, 32, 32)), rows_of((500,), (1, 28, 28))
    (28, 1, 1)
    """
    return image[1] if len(leak) == 3 and leak[1] == image[1] else 1


def as_rows(leak: Tensor, rows: int) -> Tensor:
    """``(N, F, H', W') -> (N, rows, F * W')``; any leak ``-> (N, 1, elements)`` for one row."""
    return leak.transpose(1, 2).flatten(2) if rows > 1 else leak.flatten(1).unsqueeze(1)


def spread(leak: Shape, hidden: int, over: Shape) -> nn.Sequential:
    """Two dense layers from a leak as a whole to ``(N, *over)``."""
    elements, wanted = torch.Size(leak).numel(), torch.Size(over).numel()
    return nn.Sequential(
        nn.Flatten(), nn.Linear(elements, hidden), nn.ReLU(), nn.Linear(hidden, wanted), nn.Unflatten(1, over)
    )


class Mean(nn.Module):
    """The mean image, whatever leaks: what an attacker falls back to where nothing can be learned."""

    image: Tensor

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.register_buffer("image", image)

    def forward(self, leak: Tensor) -> Tensor:
        return self.image.expand(len(leak), *self.image.shape)


class Dense(nn.Module):
    """Two dense layers along the leak's last axis; with several channels, three transposed convolutions after them."""

    def __init__(self, leak: Shape, image: Shape, hidden: int) -> None:
        super().__init__()
        *first, rows, columns = (1, 1, *leak)
        channels = math.prod(first)
        self.leak = channels, rows, columns
        self.rows = nn.Sequential(nn.Linear(columns, hidden), nn.ReLU(), nn.Linear(hidden, image[2]))
        self.mix: nn.Module = nn.Identity()
        if channels != image[0]:
            wide = min(max(hidden // 8, 4), 16)
            self.mix = nn.Sequential(
                nn.ReLU(),
                nn.ConvTranspose2d(channels, wide, 5, padding=2), nn.ReLU(),
                nn.ConvTranspose2d(wide, wide, 5, padding=2), nn.ReLU(),
                nn.ConvTranspose2d(wide, image[0], 5, padding=2),
            )  # fmt: skip

    def forward(self, leak: Tensor) -> Tensor:
        image: Tensor = self.mix(self.rows(leak.reshape(-1, *self.leak)))
        return image


class Rows(nn.Module):
    """All channels of a row decoded together by two dense layers, then a residual convolution across rows."""

    reach: ClassVar[int] = 1
    """Rows of the leak that are decoded together."""

    def __init__(self, leak: Shape, image: Shape, hidden: int) -> None:
        super().__init__()
        self.image, self.count = image, rows_of(leak, image)
        elements, reach = torch.Size(leak).numel() // self.count, self.reach if self.count > 1 else 1
        self.decode = nn.Sequential(
            nn.Conv1d(elements, hidden, reach, padding=reach // 2), nn.ReLU(),
            nn.Conv1d(hidden, torch.Size(image).numel() // self.count, 1),
        )  # fmt: skip
        self.refine = nn.Sequential(
            nn.Conv2d(image[0], 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, image[0], 3, padding=1)
        )

    def forward(self, leak: Tensor) -> Tensor:
        decoded = self.decode(as_rows(leak, self.count).transpose(1, 2))  # (N, C * W, rows), or (N, C * H * W, 1)
        if self.count > 1:
            image = decoded.unflatten(1, (self.image[0], self.image[2])).transpose(2, 3)
        else:
            image = decoded.reshape(-1, *self.image)
        refined: Tensor = image + self.refine(image)
        return refined


class Neighbours(Rows):
    """The same, five neighbouring rows of the leak together: a 5x5 front mixes as many."""

    reach = 5


class Mixing(nn.Module):
    """Dense layers across the tokens of an image, ``(N, tokens, wide)``, then within each of them."""

    def __init__(self, tokens: int, wide: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(wide)
        self.across = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.within = nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, 2 * wide), nn.GELU(), nn.Linear(2 * wide, wide))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.across(self.norm(tokens).transpose(1, 2)).transpose(1, 2)
        mixed: Tensor = tokens + self.within(tokens)
        return mixed


class Mixer(nn.Module):
    """An MLP-Mixer (Tolstikhin et al., 2021): tokens are the image's rows, and what a row leaks is kept beside its own.

    A leak that has not the image's rows is spread over them by two dense layers.
    """

    def __init__(self, leak: Shape, image: Shape, hidden: int, layers: int = 3) -> None:
        super().__init__()
        self.count = rows_of(leak, image)
        rows, wide = image[1], max(3 * hidden // 8, 1)
        self.enter = nn.Linear(leak[0] * leak[2], wide) if self.count > 1 else spread(leak, hidden, (rows, wide))
        self.place = nn.Parameter(torch.randn(rows, wide) / 50)
        self.layers = nn.Sequential(*(Mixing(rows, wide) for _ in range(layers)))
        self.leave = nn.Sequential(
            nn.Linear(2 * wide, hidden), nn.GELU(), nn.Linear(hidden, image[0] * image[2]),
            nn.Unflatten(2, image[::2]),
        )  # fmt: skip

    def forward(self, leak: Tensor) -> Tensor:
        alone = self.enter(as_rows(leak, self.count))
        tokens = self.layers(alone + self.place)
        image: Tensor = self.leave(torch.cat([tokens, alone], 2)).transpose(1, 2)  # from (N, rows, C, W)
        return image


class UNet(nn.Module):
    """What a leak says of each place, brought to the image's size, then a residual U-Net of two levels over it.

    A leak with the image's rows is decoded along its last axis, all channels alike, as dense layers of a target mix it;
    each place of a smaller map is unfolded into the pixels that it stands for (0.8 dB more than resizing it, at the
    second block of a ResNet-18); anything else, tokens and vectors, is decoded as a whole to a quarter of the image's
    height and width, and resized. What the lower level sees on average goes to every place of it, and gives the image a
    gain and an offset: a front that standardises images takes brightness and contrast away, and only the whole image
    can tell what they were.
    """

    def __init__(self, leak: Shape, image: Shape, hidden: int, wide: int = 16) -> None:
        super().__init__()
        deep = 2 * wide
        if rows_of(leak, image) > 1:
            half = max(hidden // 2, 1)
            self.enter: nn.Module = nn.Sequential(
                nn.Linear(leak[2], half), nn.ReLU(), nn.Linear(half, image[2]),
                nn.Conv2d(leak[0], wide, 5, padding=2),
            )  # fmt: skip
        elif len(leak) == 3 and min(leak[1:]) >= 4:
            fold = min(max(round(image[1] / leak[1]), 1), LARGEST_FOLD)  # a place of the map stands for so many pixels
            self.enter = nn.Sequential(nn.Conv2d(leak[0], wide * fold**2, 3, padding=1), nn.PixelShuffle(fold))
        else:
            self.enter = spread(leak, hidden, (wide, -(-image[1] // 4), -(-image[2] // 4)))
        self.size = image[1:]
        self.down = nn.Conv2d(wide, deep, 3, stride=2, padding=1)
        self.middle = nn.Sequential(
            nn.Conv2d(deep, deep, 3, padding=1), nn.ReLU(), nn.Conv2d(deep, deep, 3, padding=1)
        )  # fmt: skip
        self.everywhere, self.light = nn.Linear(deep, deep), nn.Linear(deep, 2)
        self.up = nn.Conv2d(deep, wide, 3, padding=1)
        self.join, self.out = nn.Conv2d(2 * wide, wide, 3, padding=1), nn.Conv2d(wide, image[0], 3, padding=1)
        for layer in (self.light, self.everywhere):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, leak: Tensor) -> Tensor:
        canvas = self.enter(leak)
        if canvas.shape[2:] != self.size:
            canvas = F.interpolate(canvas, size=self.size, mode="bilinear", align_corners=False)
        low = self.down(F.relu(canvas))
        low = low + self.middle(F.relu(low))
        seen = F.relu(low).mean((2, 3))
        low = low + self.everywhere(seen)[:, :, None, None]
        back = F.interpolate(F.relu(self.up(F.relu(low))), size=canvas.shape[2:])
        image = self.out(F.relu(canvas + self.join(torch.cat([F.relu(canvas), back], 1))))
        gain, offset = self.light(seen)[:, :, None, None].chunk(2, 1)
        lit: Tensor = image * (1 + gain) + offset
        return lit


class Decoder(nn.Module):
    """A network behind the standardisation of the leaks it was trained on.

    Args:
        network: one of the classes above.
        leak: shape of one leak.
        image: shape of one image, ``(C, H, W)``.
        mean, std: of the first training leaks, :data:`.queries.ASKED` of them.
    """

    def __init__(self, network: type[nn.Module], leak: Shape, image: Shape, hidden: int, mean: float, std: float):
        super().__init__()
        self.image, self.mean, self.std = image, mean, std
        self.network = network(leak, image, hidden)

    def forward(self, leak: Tensor) -> Tensor:
        """Images ``(N, C, H, W)``, not clipped."""
        output: Tensor = self.network((leak - self.mean) / self.std)
        if output.shape[-2:] != self.image[-2:]:
            output = F.interpolate(output, size=self.image[-2:], mode="bilinear", align_corners=False)
        return output


@dataclass(frozen=True)
class Member:
    """How a decoder of the family is built and trained (``benchmarks/attackers.py`` measured the choice)."""

    network: type[nn.Module]
    learning_rate: float
    """Of :class:`~sparseguard.attacks.muon.Muon`, at its highest."""
    batch_size: int = 16
    weight_decay: float = 0.0
    """Of its weights, in units of the learning rate, where the attacker has few images (:data:`.race.FEW`)."""
    pace: int = 1
    """Updates that it takes where the U-Net takes one, which costs more."""
    further: int = 0
    """Doublings beyond those of the U-Net, where it is ahead then. Two cost about twice what a U-Net does; with one,
    ten times the updates gain another 1.2 dB on ``dp_sgd``, with two 0.6."""


DECODERS: dict[str, Member] = {
    "dense": Member(Dense, 5e-3),
    "rows": Member(Rows, 5e-3, pace=2, further=2),
    "neighbours": Member(Neighbours, 2.5e-3),
    "mixer": Member(Mixer, 5e-3, batch_size=32),
    "unet": Member(UNet, 5e-3, weight_decay=0.25),
}
