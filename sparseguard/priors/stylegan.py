"""A StyleGAN2 that the user brings, as a prior (Karras et al., CVPR 2020).

The checkpoint is the state of a generator as ``stylegan2-ada-pytorch`` names its parameters (``mapping.fc0.weight``,
``synthesis.b4.const``, ``synthesis.b8.conv0.weight``, ...), in a ``.safetensors`` file or one of ``torch.save``:
``torch.save(G_ema.state_dict(), "g.pt")`` in that repository makes one of a released pickle. Nothing is unpickled but
tensors; all sizes are read off them. A latent is one ``w`` for all layers, drawn with truncation, and noise inputs are
constant, as Struppek et al. (ICML 2022) search it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from .base import Prior

TRUNCATION = 0.5
"""How far drawn latents lie from the mean one, over how far they would (Struppek et al., 2022)."""
MAPPING_RATE = 0.01
"""By which the mapping network's weights are multiplied (its learning rate, as they are stored)."""
GAIN = math.sqrt(2)
"""Of the leaky ReLU."""


class StyleGAN(Prior):
    """Images of a StyleGAN2, brought to a shape.

    Args:
        state: parameters by name.
        shape: of the images, ``(C, H, W)``, no larger than the generator's.
        truncation: how far drawn latents lie from the mean one, over how far they would.

    Raises:
        ValueError: these are not the parameters of such a generator, or it draws other images than those of the shape.
    """

    rate: ClassVar[float] = 0.005

    def __init__(
        self, state: Mapping[str, Tensor], shape: tuple[int, int, int], truncation: float = TRUNCATION
    ) -> None:
        super().__init__()
        self.shape, self.truncation = shape, truncation
        sizes = [4]
        while f"synthesis.b{2 * sizes[-1]}.conv0.weight" in state:
            sizes.append(2 * sizes[-1])
        self.sizes = sizes
        self.depth = sum(name.startswith("mapping.fc") and name.endswith(".weight") for name in state)
        if "mapping.embed.weight" in state:
            raise ValueError("the StyleGAN is conditional; one without classes is wanted.")
        absent = [name for name in self.names() if not isinstance(state.get(name), Tensor)]
        if absent:
            raise ValueError(f"the checkpoint is not the state of a StyleGAN2 generator: it has no {absent[0]}.")
        channels = len(state[f"synthesis.b{sizes[-1]}.torgb.bias"])
        if channels != shape[0] or sizes[-1] < max(shape[1:]):
            drawn, wanted = f"{channels} x {sizes[-1]} x {sizes[-1]}", " x ".join(map(str, shape))
            raise ValueError(f"the StyleGAN draws images of {drawn}, which cannot be brought to {wanted}.")
        for name in self.names():
            self.register_buffer(name.replace(".", "_"), state[name].detach().float())

    def names(self) -> list[str]:
        """Names of the parameters that it reads."""
        found = ["mapping.w_avg", "synthesis.b4.const"]
        found += [f"mapping.fc{k}.{of}" for k in range(max(self.depth, 1)) for of in ("weight", "bias")]
        for size in self.sizes:
            for layer in (["conv0"] if size > 4 else []) + ["conv1", "torgb"]:
                parts = ["affine.weight", "affine.bias", "weight", "bias"]
                parts += [] if layer == "torgb" else ["noise_const", "noise_strength"]
                found += [f"synthesis.b{size}.{layer}.{part}" for part in parts]
            found.append(f"synthesis.b{size}.resample_filter")
        return found

    def _of(self, name: str) -> Tensor:
        return self.get_buffer(name.replace(".", "_"))

    @torch.no_grad()
    def draw(self, count: int, chance: torch.Generator) -> Tensor:
        mean = self._of("mapping.w_avg")
        x = torch.randn(count, self._of("mapping.fc0.weight").shape[1], generator=chance, device=mean.device)
        x = x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in range(self.depth):
            x = GAIN * F.leaky_relu(self._dense(f"mapping.fc{layer}", x, MAPPING_RATE), 0.2)
        return mean + self.truncation * (x - mean)

    def forward(self, latent: Tensor) -> Tensor:
        x = self._of("synthesis.b4.const").expand(len(latent), -1, -1, -1)
        image = None
        for size in self.sizes:
            name = f"synthesis.b{size}"
            taps = self._of(f"{name}.resample_filter")
            if size > 4:
                x = self._styled(f"{name}.conv0", x, latent, taps)
            x = self._styled(f"{name}.conv1", x, latent)
            weight = self._of(f"{name}.torgb.weight")
            style = self._dense(f"{name}.torgb.affine", latent) / math.sqrt(weight[0].numel())
            drawn = modulated(x, weight, style, demodulate=False) + self._of(f"{name}.torgb.bias")[:, None, None]
            image = drawn if image is None else drawn + doubled(image, taps)
        assert image is not None
        image = (image + 1) / 2
        if image.shape[2:] != self.shape[1:]:
            image = F.interpolate(image, self.shape[1:], mode="bilinear", align_corners=False, antialias=True)
        return image.clamp(0, 1)

    def _dense(self, name: str, x: Tensor, rate: float = 1.0) -> Tensor:
        weight = self._of(f"{name}.weight")
        return F.linear(x, weight * (rate / math.sqrt(weight.shape[1])), rate * self._of(f"{name}.bias"))

    def _styled(self, name: str, x: Tensor, latent: Tensor, taps: Tensor | None = None) -> Tensor:
        """A styled convolution, at twice the size if it is given the taps of the filter for that."""
        weight, style = self._of(f"{name}.weight"), self._dense(f"{name}.affine", latent)
        if taps is not None:
            x = modulated(doubled(x, taps, 1), weight.flip([2, 3]), style, padding=0)
        else:
            x = modulated(x, weight, style)
        x = x + self._of(f"{name}.noise_const") * self._of(f"{name}.noise_strength")
        return GAIN * F.leaky_relu(x + self._of(f"{name}.bias")[:, None, None], 0.2)


def modulated(x: Tensor, weight: Tensor, style: Tensor, demodulate: bool = True, padding: int | None = None) -> Tensor:
    """A convolution whose weights are scaled by a style per image and input channel, and normalised per output channel.

    Args:
        x: ``(N, I, H, W)``.
        weight: ``(O, I, k, k)``, applied as correlation.
        padding: zeros on each side; ``None``: as many as keep the size.
        style: ``(N, I)``.
    """
    out = F.conv2d(x * style[:, :, None, None], weight, padding=weight.shape[2] // 2 if padding is None else padding)
    if not demodulate:
        return out
    square = torch.einsum("oihw,ni->no", weight.square(), style.square())
    return out * (square + 1e-8).rsqrt()[:, :, None, None]


def doubled(x: Tensor, taps: Tensor, more: int = 0) -> Tensor:
    """Zeros between the pixels, then a filter ``(4, 4)`` of sum 1 that keeps the brightness.

    ``(N, C, H, W) -> (N, C, 2 H + 2 more, 2 W + 2 more)``: so many pixels more on each side.
    """
    n, c, h, w = x.shape
    apart = x.new_zeros(n, c, h, 2, w, 2)
    apart[:, :, :, 0, :, 0] = x
    padded = F.pad(apart.reshape(n * c, 1, 2 * h, 2 * w), (2 + more, 1 + more) * 2)
    filtered = F.conv2d(padded, 4 * taps.flip([0, 1])[None, None])
    return filtered.view(n, c, *filtered.shape[2:])


def load_stylegan(path: str | Path, shape: tuple[int, int, int], truncation: float = TRUNCATION) -> StyleGAN:
    """The prior of a checkpoint.

    Raises:
        ValueError: it is not there, holds something else than tensors, or is of another kind of network or of images.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"there is no StyleGAN checkpoint {path}.")
    try:
        state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except Exception as error:  # whatever a file that is none makes of its reader
        raise ValueError(f"{path} holds no tensors alone, as .safetensors or torch.save of a state do.") from error
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise ValueError(f"{path} is not the state of a StyleGAN2 generator: it holds no tensors by name.")
    try:
        return StyleGAN(state, shape, truncation)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
