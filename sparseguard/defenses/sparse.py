"""What the two sparse defenses share: their parameters, and training as the paper describes it (section 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checks import one_of, positive
from ..data import Split
from ..scales import Scale
from ..sparse import SOLVERS, SparseCoding2d
from ..sparse.layer import Solver
from ..sparse.solvers import fista
from ..targets import Target
from .base import KERNEL, Defense, Family, fit
from .codes import encode

TABLE_5_TAU = 1000.0
MEASURED = 50
"""Private images that tell how far a target's codes settle: enough, since they differ less than seeds do."""
MOST = 10_000
"""Steps that the minimiser of their eq. 1 may take: more than it needs."""


@dataclass(frozen=True)
class SparseDefense(Defense):
    """A target with sparse coding layers.

    After each backpropagation step, which trains all other layers, every sparse layer but the first takes one
    dictionary update (:meth:`SparseCoding2d.learn`) on what it just coded. The first one is trained by backpropagation
    ("we do this in our experiments", footnote 1), or kept fixed.

    Args:
        lam: sparsity of each sparse layer; one number for all, or one a layer.
        train_first: train the first dictionary by backpropagation. If not, it stays as it was drawn, its codes are
            computed once, and training never touches an image again.
        downstream: channels of 5x5 convolutions (with ReLU) between the last sparse pair and the dense layers.
        tau: time constant of every sparse layer, in iterations, for codes on the trajectory of eq. 2 at time
            ``iterations / tau``: 1000 in Table 5, 100 in the released code. ``None``: codes settle, at the minimum of
            eq. 1, which is what section 3 of the paper says that a layer finds.
        iterations: textbook iterations on the trajectory, or the most that the minimiser takes.
        solver: ``None`` is ``"fista"`` for settled codes and ``"lca"`` on the trajectory; ``"lca"`` or
            ``"euler"``, the textbook's recurrence, without a ``tau`` means Table 5's.
    """

    family: ClassVar[Family] = "sparse"
    strength: ClassVar[str] = "lam"
    revision: ClassVar[int] = 1
    sizes: ClassVar[tuple[str, ...]] = ("tol",)

    lam: float | tuple[float, ...] = 0.5
    train_first: bool = True
    downstream: tuple[int, ...] = ()
    tau: float | None = None
    iterations: int = 500
    solver: Solver | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for value in self.lams(1):
            positive("lam", value)
        if self.solver is not None:
            one_of("solver", self.solver, SOLVERS)
        if self.tau is not None:
            object.__setattr__(self, "tau", positive("tau", self.tau))
            if self.solver == "fista":
                raise ValueError(f'tau is for codes on the trajectory; solver="fista" has none, not {self.tau!r}.')
        # one spelling for each regime: a solver that tau implies is not said
        if self.solver in ("lca", "euler") and self.tau is None:
            object.__setattr__(self, "tau", TABLE_5_TAU)
        if self.solver in ("fista", "lca"):
            object.__setattr__(self, "solver", None)
        if self.front != "linear":
            raise ValueError(f"a sparse defense has sparse layers in front, not {self.front!r}.")

    def lams(self, layers: int) -> tuple[float, ...]:
        """Sparsity of each layer; a single number is repeated ``layers`` times."""
        return tuple(self.lam) if isinstance(self.lam, tuple | list) else (self.lam,) * layers

    @property
    def time(self) -> float:
        """Time constants for which a code follows eq. 2, ``iterations / tau``; infinite for settled codes."""
        return math.inf if self.tau is None else self.iterations / self.tau

    def sparse_layer(self, channels: int, features: int, lam: float, scale: Scale) -> SparseCoding2d:
        """One sparse coding layer with this defense's parameters."""
        solver: Solver = self.solver or ("fista" if self.tau is None else "lca")
        return SparseCoding2d(
            channels, features, KERNEL,
            lam=lam, tau=self.tau or TABLE_5_TAU, iterations=self.iterations, solver=solver, tol=scale.tol,
        )  # fmt: skip

    def downstream_layers(self, channels: int) -> list[nn.Module]:
        """The optional convolutions."""
        counts = [channels, *self.downstream]
        convs = [nn.Conv2d(a, b, KERNEL, padding=KERNEL // 2) for a, b in pairwise(counts)]
        return [module for conv in convs for module in (conv, nn.ReLU())]

    def train(self, target: Target, split: Split, scale: Scale) -> None:
        first, *others = [module for module in target.front if isinstance(module, SparseCoding2d)]
        first.dictionary.requires_grad_(self.train_first)
        coded: dict[SparseCoding2d, tuple[Tensor, Tensor]] = {}

        def remember(layer: nn.Module, inputs: tuple[Tensor, ...], code: Tensor) -> None:
            assert isinstance(layer, SparseCoding2d)
            coded[layer] = (inputs[0].detach(), code.detach())

        def update_dictionaries() -> None:
            if self.train_first:
                first.normalize_()
            for layer, (x, code) in coded.items():
                layer.learn(x, code)

        for layer in others:
            layer.dictionary.requires_grad_(False)
        hooks = [layer.register_forward_hook(remember) for layer in others]
        try:
            if self.train_first:
                fit(target, split.train_images, split.train_labels, scale, after_step=update_dictionaries)
            else:
                codes = encode(first, split.train_images)
                rest = nn.Sequential(target.front[1:], target.body, target.noise, target.head)
                fit(rest, codes, split.train_labels, scale, after_step=update_dictionaries)
        finally:
            for hook in hooks:
                hook.remove()
        target.eval()
        target.exhibits = {
            f"dictionary {i}": layer.dictionary.detach().clone() for i, layer in enumerate((first, *others), start=1)
        }
        target.facts = settling(target, split.train_images[:MEASURED].to(first.dictionary.device), scale.tol / 10)


@torch.no_grad()
def settling(target: Target, images: Tensor, tol: float) -> dict[str, float]:
    """How many neurons of each sparse layer are active, and how near to the minimum of eq. 1 its codes are.

    Draws nothing from torch's generator.

    Args:
        target: in inference mode.
        images: ``(N, C, H, W)``, on the target's device.
        tol: relative duality gap of the minimiser that the codes are compared with.

    Returns:
        For the i-th sparse layer, means over images: ``"active i (%)"``, neurons that are not zero, and ``"cosine i"``,
        in [0, 1], of the deployed code with the minimiser for the same input and dictionary. It is 1 where neither has
        an active neuron.
    """
    facts: dict[str, float] = {}
    x, number = images, 0
    for layer in target.front:
        inputs, x = x, layer(x)
        if isinstance(layer, SparseCoding2d):
            number += 1
            minimum = fista(
                layer.canvas(inputs), layer.dictionary, layer.lam,
                stride=layer.stride, iterations=MOST, tol=tol, nonneg=layer.nonneg,
            ).code.flatten(1)  # fmt: skip
            code = x.flatten(1)
            cosine = F.cosine_similarity(code, minimum).masked_fill(~(code.any(1) | minimum.any(1)), 1.0)
            facts[f"active {number} (%)"] = 100 * float((code != 0).float().mean())
            facts[f"cosine {number}"] = float(cosine.mean())
    return facts
