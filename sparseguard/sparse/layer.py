"""The sparse coding layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..checks import is_whole, one_of, positive, whole
from . import operators, solvers
from .filterbank import filter_gradient
from .selection import choose, glimpses

Solver = Literal["lca", "euler", "fista", "single"]
SOLVERS: tuple[Solver, ...] = get_args(Solver)
CHUNK = 1000
"""Images of which patches are taken at a time."""


def standardize(x: Tensor) -> Tensor:
    """Zero mean and unit (unbiased) standard deviation per image over (C, H, W); a constant image becomes 0.

    Variation below 1e-6 of the image's largest value is rounding error, and is not blown up to unit variance.
    """
    centred = x - x.mean(dim=(1, 2, 3), keepdim=True)
    centred = centred - centred.mean(dim=(1, 2, 3), keepdim=True)  # what rounding left of a large mean
    count = max(x[0].numel() - 1, 1) if len(x) else 1
    variance = centred.square().sum(dim=(1, 2, 3), keepdim=True) / count
    floor = (1e-6 * x.detach().abs().amax(dim=(1, 2, 3), keepdim=True)).square() + 1e-30
    return centred / torch.maximum(variance, floor).sqrt()


def _pair(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or any(not is_whole(v) or v < 1 for v in pair):
        raise ValueError(f"{name} must be a positive whole number or a pair of them, not {value!r}.")
    return int(pair[0]), int(pair[1])


class SparseCoding2d(nn.Module):
    """Convolutional sparse coding (paper, eqs. 1 and 2, Fig. 1, A.1; values of Table 5 by default).

    The code of an image is the state that the Locally Competitive Algorithm reaches after ``iterations / tau`` time
    constants (``solver="lca"`` or ``"euler"``), the minimiser of eq. 1 (``"fista"``), or the thresholded drive, in
    which no neuron holds another down (``"single"``).

    Args:
        in_channels: channels C of the input.
        features: number F of dictionary features.
        kernel_size: odd height and width of a feature.
        stride: step between code positions, in pixels.
        lam: sparsity, the weight of the l1 term and the threshold of the activation; > 0.
        tau: time constant, in iterations; > 0. Not used by ``"fista"`` and ``"single"``.
        iterations: textbook iterations (``lca`` reaches the same time with fewer), or the most that ``"fista"`` takes;
            not used by ``"single"``.
        solver: ``"lca"``, ``"euler"``, ``"fista"`` or ``"single"``; see :mod:`sparseguard.sparse.solvers`.
        standardize: code the input after per-image standardisation (a constant image becomes 0).
        nonneg: codes are >= 0.
        tol: relative error of the code (``lca``) or relative duality gap (``fista``).
        eta: step of the dictionary update :meth:`learn`.

    Attributes:
        last_gap: relative duality gap of each image's code, ``(N,)``, after ``"fista"``.

    Shape:
        input ``(N, C, H, W)``; code ``(N, F, ceil(H / stride), ceil(W / stride))``.

    Raises:
        ValueError: a parameter or an input is out of range; the message names it.

    Example:
        >>> layer = SparseCoding2d(1, 16, lam=0.5)
        >>> code = layer(torch.rand(2, 1, 28, 28))
        >>> code.shape, bool((code >= 0).all()), layer.reconstruct(code).shape
        (torch.Size([2, 16, 28, 28]), True, torch.Size([2, 1, 32, 32]))
    """

    def __init__(
        self,
        in_channels: int,
        features: int,
        kernel_size: int | tuple[int, int] = 5,
        stride: int | tuple[int, int] = 1,
        lam: float = 0.5,
        tau: float = 1000.0,
        iterations: int = 500,
        solver: Solver = "lca",
        standardize: bool = True,
        nonneg: bool = True,
        tol: float = 1e-3,
        eta: float = 0.01,
    ) -> None:
        super().__init__()
        self.kernel_size = _pair("kernel_size", kernel_size)
        if any(k % 2 == 0 for k in self.kernel_size):
            raise ValueError(f"kernel_size must be odd, not {kernel_size!r}.")
        self.stride = _pair("stride", stride)
        self.in_channels, self.features = whole("in_channels", in_channels), whole("features", features)
        self.iterations = whole("iterations", iterations)
        self.lam, self.tau = positive("lam", lam), positive("tau", tau)
        self.tol, self.eta = positive("tol", tol), positive("eta", eta)
        one_of("solver", solver, SOLVERS)
        self.solver: Solver = solver
        self.standardize, self.nonneg = standardize, nonneg
        dictionary = torch.empty(self.features, self.in_channels, *self.kernel_size)
        nn.init.trunc_normal_(dictionary, std=1.0, a=-2.0, b=2.0)
        self.dictionary = nn.Parameter(dictionary)
        self.normalize_()
        self.register_buffer("idle", torch.zeros(self.features, dtype=torch.int64), persistent=False)
        self.last_gap: Tensor | None = None

    idle: Tensor
    """Updates of :meth:`learn` since each feature was last active: ``(F,)``."""

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.features}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"lam={self.lam}, tau={self.tau}, iterations={self.iterations}, solver={self.solver!r}"
        )

    @torch.no_grad()
    def normalize_(self) -> None:
        """Scale every feature to unit L2 norm; a feature that vanished or is not finite is drawn anew."""
        flat = self.dictionary.flatten(1)
        norms = flat.norm(dim=1, keepdim=True)
        lost = ~(torch.isfinite(norms) & (norms > 1e-12)).squeeze(1)
        if bool(lost.any()):
            flat[lost] = torch.randn_like(flat[lost])
            norms = flat.norm(dim=1, keepdim=True)
        self.dictionary.copy_((flat / norms).view_as(self.dictionary))

    def canvas(self, x: Tensor) -> Tensor:
        """What is coded: ``x``, standardised (if so set) and zero-padded to ``(N, C, H + kh - 1, W + kw - 1)``."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"the layer codes (N, {self.in_channels}, H, W), not {tuple(x.shape)}.")
        if self.stride[0] > x.shape[2] or self.stride[1] > x.shape[3]:
            raise ValueError(f"stride {self.stride} is larger than the image, {tuple(x.shape[2:])}.")
        return operators.pad_to_canvas(standardize(x) if self.standardize else x, self.kernel_size)

    def forward(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """Code of ``x``: ``(N, C, H, W) -> (N, F, ceil(H / stride), ceil(W / stride))``.

        Differentiable in ``x`` and in the dictionary: along the steps taken (``lca``, ``euler``, ``single``), or
        implicitly at the minimum (``fista``, which also takes a warm start, a code of the right shape).
        """
        canvas = self._checked_canvas(x)
        shape = (len(x), self.features, *(-(-n // s) for n, s in zip(x.shape[2:], self.stride)))
        if start is not None and (self.solver != "fista" or start.shape != shape):
            raise ValueError(
                f'start is a code {shape} for solver="fista", not {tuple(start.shape)} for {self.solver!r}.'
            )
        if len(x) == 0:
            return canvas.new_zeros(shape)
        dictionary, lam, tol, common = self.dictionary, self.lam, self.tol, self._common
        if self.solver == "fista":
            code, self.last_gap, _ = solvers.fista(canvas, dictionary, lam, tol=tol, start=start, **common)
        elif self.solver == "lca":
            code = solvers.lca(canvas, dictionary, lam, tau=self.tau, tol=tol, **common)
        elif self.solver == "single":
            code = solvers.single(canvas, dictionary, lam, stride=self.stride, nonneg=self.nonneg)
        else:
            code = solvers.euler(canvas, dictionary, lam, tau=self.tau, **common)
        return code.contiguous()

    @property
    def _common(self) -> dict[str, Any]:
        return {"stride": self.stride, "iterations": self.iterations, "nonneg": self.nonneg}

    def _checked_canvas(self, x: Tensor) -> Tensor:
        if not bool(torch.isfinite(x.detach()).all()):
            raise ValueError("the input holds NaN or infinite values; a sparse code needs finite ones.")
        return self.canvas(x).to(self.dictionary.dtype)  # autocast may have left half precision behind

    @torch.no_grad()
    def path(self, x: Tensor, lams: Iterable[float]) -> Iterator[Tensor]:
        """Minimisers of eq. 1 for several lambdas, each started from the one before; from large to small is fastest.

        Example:
            >>> layer = SparseCoding2d(1, 16)
            >>> [bool(code.any()) for code in layer.path(torch.rand(1, 1, 28, 28), [1e6, 0.5])]
            [False, True]
        """
        canvas, start = self._checked_canvas(x), None
        for lam in lams:
            start, self.last_gap, _ = solvers.fista(
                canvas, self.dictionary, positive("lam", lam), tol=self.tol, start=start, **self._common
            )
            yield start.contiguous()

    def reconstruct(self, code: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Image of a code, on the canvas: ``(N, F, h, w) -> (N, C, H + kh - 1, W + kw - 1)``.

        ``size`` is the image's ``(H, W)``; by default ``(h * stride, w * stride)``, which only differs where the stride
        does not divide the image.
        """
        height, width = size or (code.shape[-2] * self.stride[0], code.shape[-1] * self.stride[1])
        canvas_size = (height + self.kernel_size[0] - 1, width + self.kernel_size[1] - 1)
        return operators.synthesis(code, self.dictionary, self.stride, canvas_size)

    def energy(self, x: Tensor, code: Tensor) -> Tensor:
        """Equation 1 on the canvas, one value an image: ``(N,)``."""
        return operators.energy(self.canvas(x), code, self.dictionary, self.lam, self.stride)

    def gap(self, x: Tensor, code: Tensor) -> Tensor:
        """Relative duality gap of ``code`` in eq. 1, one value an image: ``(N,)``; 0 at the minimum."""
        return operators.relative_gap(self.canvas(x), code, self.dictionary, self.lam, self.stride, self.nonneg)

    @torch.no_grad()
    def learn(self, x: Tensor, code: Tensor) -> None:
        """One dictionary update: a step down the energy of eq. 1, then unit norm.

        Each feature moves by ``eta`` times the residual patches at its active positions, weighted by its activity and
        divided by one plus the number of those positions. :meth:`dead_features` names those that are never active.
        """
        canvas = self.canvas(x)
        size = (canvas.shape[-2], canvas.shape[-1])
        residual = canvas - operators.synthesis(code, self.dictionary, self.stride, size)
        step = filter_gradient(self.dictionary, self.stride, residual, code)
        active = (code != 0).sum(dim=(0, 2, 3))
        self.dictionary.add_(self.eta * step / (1 + active)[:, None, None, None])
        self.normalize_()
        self.idle.add_(1).masked_fill_(active > 0, 0)

    @torch.no_grad()
    def choose(self, x: Tensor, generator: torch.Generator | None = None) -> int:
        """Make the dictionary of patches of images, without training; how many of its features are such.

        Of each image one patch is a candidate: what the neurons at a random position see. Those are chosen that save
        the most energy of eq. 1 of all candidates, by greedy maximisation (:mod:`sparseguard.sparse.selection`).
        Features are then *pieces of these images*, scaled to unit norm: whoever holds the dictionary holds them. Where
        fewer patches save anything than there are features, the others stay as they are.

        Args:
            x: ``(N, C, H, W)``, on any device.
            generator: of positions and draws, on the CPU; by default torch's global one.

        Example:
            >>> SparseCoding2d(1, 4).choose(torch.rand(50, 1, 9, 9))
            4
        """
        canvases = (self._checked_canvas(part.to(self.dictionary.device)) for part in x.split(CHUNK))
        patches = torch.cat([glimpses(canvas, self.kernel_size, self.stride, generator) for canvas in canvases])
        members = choose(patches, self.features, self.lam, nonneg=self.nonneg, generator=generator).members
        self.dictionary[: len(members)] = patches[members].view(-1, *self.dictionary.shape[1:])
        self.normalize_()
        self.idle.zero_()
        return len(members)

    def dead_features(self, updates: int = 100) -> list[int]:
        """Features that were active nowhere in at least the last ``updates`` calls of :meth:`learn`."""
        return (self.idle >= updates).nonzero().flatten().tolist()
