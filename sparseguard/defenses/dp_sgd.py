"""DP-SGD: Hayes, Mahloujifar and Balle (2023), the paper's DP-SGD baseline (C.0.4), by Opacus.

Each step draws its batch by Poisson sampling, clips the gradient of every image to the norm C and adds noise,

    w <- w - eta * (sum over images of g_i / max(1, |g_i| / C) + N(0, (sigma C)^2 I)) / (expected batch size),

which makes the trained weights (epsilon, delta)-differentially private; Opacus' RDP accountant bounds epsilon. The
paper prints no parameters: sigma, C and, at scale ``paper``, eta are the released code's. Hayes et al. bound how well
training *records* can be reconstructed from *weights*. What leaks here is another thing, the features of an image that
is shown to the finished target, and of such a deterministic encoder differential privacy promises nothing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, StackDataset

from ..checks import positive
from ..data import Split
from ..resuming import rounds
from ..scales import Scale
from ..targets import Target
from .base import Defense, Family, nonnegative

DELTA = 1e-5


@dataclass(frozen=True)
class DPSGD(Defense):
    """Training with clipped, noisy gradients.

    Args:
        noise_multiplier: sigma, standard deviation of the noise over the clipping norm; 0: clipping alone, and an
            infinite epsilon.
        max_grad_norm: C, norm to which the gradient of each image is clipped.
        learning_rate: eta, of plain SGD without momentum; ``None``: the scale's.
    """

    family: ClassVar[Family] = "training"
    strength: ClassVar[str] = "noise_multiplier"
    released_attack: ClassVar[Mapping[str, Any]] = MappingProxyType({"change_target": False})
    sizes: ClassVar[tuple[str, ...]] = ("dp_epochs", "dp_batch_size", "dp_learning_rate")

    noise_multiplier: float = 1.1
    max_grad_norm: float = 1.0
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        nonnegative("noise_multiplier", self.noise_multiplier)
        positive("max_grad_norm", self.max_grad_norm)
        if self.learning_rate is not None:
            positive("learning_rate", self.learning_rate)
        if self.front not in ("linear", "standardized"):
            raise ValueError(
                f"dp_sgd cannot train front={self.front!r}: batch norm mixes the images of a batch, so that none has a "
                "gradient of its own; front must be linear or standardized."
            )

    def train(self, target: Target, split: Split, scale: Scale) -> None:
        from opacus import PrivacyEngine  # here: importing it costs seconds that the other defenses need not pay

        data: Dataset[Any] = StackDataset(split.train_images, split.train_labels)  # type: ignore[arg-type]
        device = next(target.parameters()).device
        target.train()
        eta = scale.dp_learning_rate if self.learning_rate is None else self.learning_rate
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Secure RNG turned off")  # experiments repeat from their seed
            warnings.filterwarnings("ignore", message="Full backward hook is firing")  # images have no gradient
            engine = PrivacyEngine(accountant="rdp")
            model, optimizer, loader = engine.make_private(
                module=target,
                optimizer=torch.optim.SGD(target.parameters(), lr=eta),
                data_loader=DataLoader(data, batch_size=scale.dp_batch_size),
                noise_multiplier=self.noise_multiplier,
                max_grad_norm=self.max_grad_norm,
            )
            for _ in rounds(scale.dp_epochs, "training", target, engine.accountant):
                for images, labels in loader:  # Poisson sampling: a batch may even be empty
                    losses = F.cross_entropy(model(images.to(device)), labels.to(device), reduction="sum")
                    optimizer.zero_grad()
                    (losses / max(len(images), 1)).backward()
                    optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        model.to_standard_module()  # no hooks that collect the gradients of single images stay with the target
        if not all(bool(torch.isfinite(parameter).all()) for parameter in target.parameters()):
            raise ArithmeticError(f"training diverged at learning rate {eta}.")
        target.eval()
        private = self.noise_multiplier > 0
        target.facts[f"ε (δ = {DELTA:.0e})"] = float(engine.get_epsilon(DELTA)) if private else math.inf
