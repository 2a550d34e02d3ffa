"""The victim networks; :mod:`.access` is how anybody else sees them.

A target is ``front -> body -> noise -> head``. What leaves ``noise`` is the *leak*. Linear layers act along the last
axis, the image's width, as in the networks of the released code (the paper prints no shapes); the layers of ``body``
and ``head`` are the paper's fully connected layers: five end to end, where the last hidden one leaks, three in the
split setting, where the first one leaks (section 4, A.3).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .access import Leaky
from .checks import one_of

SETTINGS = ("end_to_end", "split")


def check_setting(name: str) -> str:
    """``name`` if it is a setting, or a ``ValueError`` with the list of what is allowed."""
    return one_of("setting", name, SETTINGS)


class Target(Leaky):
    """A classifier whose hidden activations leak.

    Args:
        front: from images ``(N, C, H, W)`` to features ``(N, F, H', W')``.
        setting: ``"end_to_end"`` or ``"split"``: how many dense layers, and which of them leaks.
        image_shape: ``(C, H, W)``.
        classes: number of classes.
        width: units of the dense layers (500 in the released code; the paper prints none).
    """

    def __init__(
        self, front: Sequence[nn.Module], setting: str, image_shape: tuple[int, int, int], classes: int, width: int
    ) -> None:
        super().__init__()
        self.front = nn.Sequential(*front)
        with torch.no_grad():
            channels, rows, columns = copy.deepcopy(self.front).eval()(torch.zeros(1, *image_shape)).shape[1:]
        flat = channels * rows * width
        if check_setting(setting) == "split":
            self.body = nn.Sequential(nn.Linear(columns, width), nn.ReLU())
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(flat, width), nn.ReLU(), nn.Linear(width, classes))
        else:
            self.body = nn.Sequential(
                nn.Linear(columns, width), nn.ReLU(),
                nn.Linear(width, width), nn.ReLU(),
                nn.Linear(width, columns), nn.ReLU(),
                nn.Linear(columns, width),
            )  # fmt: skip
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(flat, classes))
        self.noise: nn.Module = nn.Identity()
        self.facts: dict[str, float] = {}
        """What the defense's training established, by name, to stand in the table: an epsilon, say."""
        self.exhibits: dict[str, Tensor] = {}
        """What it made, for the report to show, no private image among it: ``(K, C, h, w)`` each."""

    def stages(self) -> tuple[list[nn.Module], list[nn.Module]]:
        return [*self.front], [*self.body, self.noise]

    def silence(self) -> None:
        self.noise = nn.Identity().train(self.training)

    def leak(self, x: Tensor) -> Tensor:
        """What the attacker sees: ``(N, C, H, W) -> (N, F, H', width)``."""
        leak: Tensor = self.noise(self.body(self.front(x)))
        return leak

    def forward(self, x: Tensor) -> Tensor:
        """Class logits, ``(N, classes)``."""
        logits: Tensor = self.head(self.leak(x))
        return logits
