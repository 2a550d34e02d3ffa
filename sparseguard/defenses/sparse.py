"""What the two sparse defenses share: their parameters, and training as the paper describes it (section 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checks import flag, one_of, positive, whole
from ..data import Split
from ..scales import Scale
from ..sparse import SOLVERS, SparseCoding2d
from ..sparse.layer import Solver
from ..sparse.solvers import fista
from ..targets import Target
from .base import KERNEL, Defense, Family, fit
from .codes import encode

DICTIONARIES = ("learned", "submodular")
TABLE_5_TAU = 1000.0
MEASURED = 50
"""Private images that tell how far a target's codes settle: enough, since they differ less than seeds do."""
SEEN = 1000
"""Images of which the features of a later layer are chosen."""
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
            ``"euler"``, the textbook's recurrence, without a ``tau`` means Table 5's. ``"single"`` takes one
            thresholded step, in which nothing competes, and knows neither ``tau`` nor ``iterations``.
        dictionary: ``"learned"``, as above, or ``"submodular"``: chosen before training among patches of what each
            layer sees of the *private* images (:meth:`SparseCoding2d.choose`), of a later layer of the first
            :data:`SEEN` of them, and never trained. The target's weights then hold pieces of private images as they
            are, 5 x 5 pixels up to brightness and contrast: no black box shows them, but whoever has the weights does.
            No result keeps them as exhibits.
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
    dictionary: Literal["learned", "submodular"] = "learned"

    def __post_init__(self) -> None:
        super().__post_init__()
        for value in self.lams(1):
            positive("lam", value)
        flag("train_first", self.train_first)
        whole("iterations", self.iterations)
        if not isinstance(self.downstream, tuple | list):
            raise ValueError(f"downstream must be a list of channels, not {self.downstream!r}.")
        for channels in self.downstream:
            whole("downstream", channels)
        if self.solver is not None:
            one_of("solver", self.solver, SOLVERS)
        if self.tau is not None:
            object.__setattr__(self, "tau", positive("tau", self.tau))
            if self.solver in ("fista", "single"):
                raise ValueError(
                    f'tau is for codes on the trajectory; solver="{self.solver}" has none, not {self.tau!r}.'
                )
        if self.solver == "single" and self.iterations != SparseDefense.iterations:
            raise ValueError(f'iterations are many steps; solver="single" takes one, not {self.iterations!r}.')
        one_of("dictionary", self.dictionary, DICTIONARIES)
        # one spelling for each regime: a solver that tau implies is not said, nor what a chosen dictionary implies
        if self.solver in ("lca", "euler") and self.tau is None:
            object.__setattr__(self, "tau", TABLE_5_TAU)
        if self.solver in ("fista", "lca"):
            object.__setattr__(self, "solver", None)
        if self.dictionary == "submodular":
            object.__setattr__(self, "train_first", True)
        if self.front != "linear":
            raise ValueError(f"a sparse defense has sparse layers in front, not {self.front!r}.")

    def lams(self, layers: int) -> tuple[float, ...]:
        """Sparsity of each layer; a single number is repeated ``layers`` times."""
        return tuple(self.lam) if isinstance(self.lam, tuple | list) else (self.lam,) * layers

    @property
    def time(self) -> float:
        """Time constants for which a code follows eq. 2, ``iterations / tau``; infinite for settled codes.

        A single step is the textbook's first, of one time constant.
        """
        settled = 1.0 if self.solver == "single" else math.inf
        return settled if self.tau is None else self.iterations / self.tau

    @property
    def codes_by(self) -> Solver:
        """The layers' solver."""
        return self.solver or ("fista" if self.tau is None else "lca")

    def sparse_layer(self, channels: int, features: int, lam: float, scale: Scale) -> SparseCoding2d:
        """One sparse coding layer with this defense's parameters."""
        return SparseCoding2d(
            channels, features, KERNEL,
            lam=lam, tau=self.tau or TABLE_5_TAU, iterations=self.iterations, solver=self.codes_by, tol=scale.tol,
        )  # fmt: skip

    def downstream_layers(self, channels: int) -> list[nn.Module]:
        """The optional convolutions."""
        counts = [channels, *self.downstream]
        convs = [nn.Conv2d(a, b, KERNEL, padding=KERNEL // 2) for a, b in pairwise(counts)]
        return [module for conv in convs for module in (conv, nn.ReLU())]

    def train(self, target: Target, split: Split, scale: Scale) -> None:
        first, *others = [module for module in target.front if isinstance(module, SparseCoding2d)]
        learned = self.dictionary == "learned"
        trained = learned and self.train_first
        first.dictionary.requires_grad_(trained)
        if not learned:
            choose_dictionaries(target.front, split.train_images)
        coded: dict[SparseCoding2d, tuple[Tensor, Tensor]] = {}

        def remember(layer: nn.Module, inputs: tuple[Tensor, ...], code: Tensor) -> None:
            assert isinstance(layer, SparseCoding2d)
            coded[layer] = (inputs[0].detach(), code.detach())

        def update_dictionaries() -> None:
            if trained:
                first.normalize_()
            for layer, (x, code) in coded.items():
                layer.learn(x, code)

        for layer in others:
            layer.dictionary.requires_grad_(False)
        hooks = [layer.register_forward_hook(remember) for layer in others if learned]
        try:
            if trained:
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
            f"dictionary {i}": layer.dictionary.detach().clone()
            for i, layer in enumerate((first, *others), start=1)
            if learned
        }
        target.facts = settling(target, split.train_images[:MEASURED].to(first.dictionary.device), scale.tol / 10)


@torch.no_grad()
def choose_dictionaries(front: nn.Sequential, images: Tensor) -> None:
    """Choose the features of each sparse layer, in place, among patches of what it sees.

    Batch normalisations are in training mode, as when training begins. Draws from torch's global generator.

    Args:
        front: an untrained target's, on its device.
        images: ``(N, C, H, W)``: all for the first layer, the first :data:`SEEN` for later ones.
    """
    x, device = images, next(front.parameters()).device
    for module in front.train():
        if isinstance(module, SparseCoding2d):
            module.choose(x)
        x = module(x[:SEEN].to(device))


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
