"""An audit: what one submodule of any trained network gives away of private images; attacks are the experiments'."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from . import metrics as measure
from .access import Access, BlackBox, grant
from .attacks import ATTACKS, Attack, Holdout
from .attacks.nearest import Nearest
from .attacks.queries import ASKED
from .checks import SSIM_WINDOW, one_of, seed_of
from .device import default_device, device_name, undisturbed
from .registry import label
from .scales import check_scale
from .tap import Tapped, untrain

ATTACK, MEAN, CLASS_MEAN, NEAREST, RANDOM = "attack", "mean image", "class mean", "nearest image", "random weights"
FEWEST = 10  # images that can be divided


@dataclass(frozen=True)
class Audit:
    """What one audit measured.

    Attributes:
        leak, leak_shape: name of the submodule, and shape of its output for one image.
        attack, access, scale, seed: how it was attacked; ``attack`` names its options.
        attack_images, validation_images: how many images the attacker learned from, and chose by.
        psnr, ssim: of every victim, ``(victims,)``, in dB and in [-1, 1]: of ``"attack"`` and of each control:
            ``"mean image"`` (of the attacker's images), ``"class mean"`` (the same of the victim's class; where labels
            are known), ``"nearest image"`` (the attacker's image whose leak is nearest to the victim's) and
            ``"random weights"`` (the attack on the same module, untrained; where it has parameters).
        originals: the first K victims, ``(K, C, H, W)`` in [0, 1].
        rebuilt: what became of them, by the same names, ``(K, C, H, W)`` each. No other private image is kept.
        accuracy: of the module on the victims; ``None`` without labels, or where its output is not ``(N, classes)``.
        details: :class:`sparseguard.attacks.Fitted` 's, of ``"attack"``, ``"nearest image"`` and ``"random weights"``.
        seconds, device: what all of it took, and where.
    """

    leak: str
    leak_shape: tuple[int, ...]
    attack: str
    access: str
    scale: str
    seed: int
    attack_images: int
    validation_images: int
    psnr: dict[str, Tensor]
    ssim: dict[str, Tensor]
    originals: Tensor
    rebuilt: dict[str, Tensor]
    accuracy: float | None
    details: dict[str, dict[str, Any]]
    seconds: float
    device: str

    @property
    def reconstructions(self) -> Tensor:
        """What the attack made of the originals, ``(K, C, H, W)`` in [0, 1]."""
        return self.rebuilt[ATTACK]


def audit(
    module: nn.Module,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    leak: str,
    access: Access = "black_box",
    attack: str = "inversion",
    attack_options: Mapping[str, Any] | None = None,
    preprocess: Callable[[Tensor], Tensor] | None = None,
    holdout: Tensor | None = None,
    scale: str = "quick",
    seed: int = 0,
    device: str | None = None,
) -> Audit:
    """Attack a trained module at the output of one of its submodules.

    The images are divided with the seed: 40 % are victims, to be rebuilt; 40 % are the attacker's; 20 % choose among
    its decoders. Victims stand for what is private, so take images that the attacker has in no other way: no copies
    among them, none that are public. The module is copied, and the copy frozen, in inference mode: yours keeps its
    mode, weights, gradients and hooks.

    Args:
        module: any; its output counts for the accuracy alone.
        images: ``(N, C, H, W)``, floats in [0, 1], N >= 10, at least 11 x 11 pixels.
        labels: classes, ``(N,)``, whole numbers: for the accuracy, the mean image of each class, and an attack that
            learns from the labels of the attacker's images.
        leak: name of a submodule, as ``module.named_modules()`` gives it (:class:`sparseguard.tap.Tapped`).
        access: what the attacker holds, ``"black_box"`` or ``"white_box"``; an attack that needs less is given less.
        attack, attack_options: one of :func:`sparseguard.list_attacks`, and its options.
        preprocess: from images in [0, 1] to what the module expects, such as a normalisation; by default nothing.
        holdout: the attacker's images instead, ``(M, C, H, W)``, M >= 10, none of them private: all ``images`` are
            victims then, and of these two thirds are learned from, a third is chosen by.
        scale: budget of the attack: ``"smoke"``, ``"quick"``, ``"medium"`` or ``"paper"``.
        seed: of the division, the attack and the random weights; a whole number from 0 on.
        device: where the attacker computes; by default a GPU where there is one.

    Raises:
        ValueError: anything that is not allowed, in one sentence.
        ArithmeticError: the leak is not finite.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(256, 64), nn.ReLU())
        >>> found = audit(network, torch.rand(30, 1, 16, 16), leak="1", scale="smoke")
        >>> found.leak_shape, list(found.psnr)
        ((64,), ['attack', 'mean image', 'nearest image', 'random weights'])
    """
    start, sizes, device = time.perf_counter(), check_scale(scale), device or default_device()
    options = dict(attack_options or {})
    method = ATTACKS.make(attack, options)
    kinds = get_args(Access)
    one_of("access", access, kinds[:2])  # nobody attacks a network that he may change
    if kinds.index(method.access) > kinds.index(access):
        raise ValueError(f"attack {attack!r} needs access {method.access!r}, more than {access!r}.")
    pool = images if holdout is None else holdout
    _check(module, images, labels, pool, seed)
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
    cut = 2 * len(pool) // 5 if holdout is None else 0
    own, rest = order[cut:].tensor_split([2 * (len(pool) - cut) // 3])
    private = order[:cut] if holdout is None else torch.arange(len(images))
    victims, attacked, validation = (part.detach().cpu().float() for part in (images[private], pool[own], pool[rest]))
    classes = None if labels is None else labels.cpu()
    told = None if classes is None or holdout is not None else classes[own]
    known = Holdout(attacked, validation, told)
    rebuilt: dict[str, Tensor] = {}
    details: dict[str, dict[str, Any]] = {}

    def rebuild(name: str, using: Attack) -> BlackBox:
        torch.manual_seed(seed)  # the same chance for trained and random weights
        box = grant(using.access, target)
        fitted = using.fit(box, known, sizes, device)
        parts = [fitted.reconstruct(using.observe(box, part)) for part in victims.split(ASKED)]
        rebuilt[name], details[name] = torch.cat(parts).clamp(0, 1), fitted.details
        return box

    with undisturbed():
        torch.manual_seed(seed)
        target = Tapped(module, leak, preprocess, victims)
        box = rebuild(ATTACK, method)
        rebuilt[MEAN] = attacked.mean(0, keepdim=True).expand_as(victims)
        if classes is not None and holdout is None:
            rebuilt[CLASS_MEAN] = _class_means(attacked, classes[own], classes[private])
        rebuild(NEAREST, Nearest(views=method.views))
        accuracy: float | None = None
        if classes is not None and (output := box.classify(victims)).ndim == 2 and output.shape[1] > int(classes.max()):
            accuracy = float((output.argmax(1) == classes[private]).float().mean())
        if next(target.module.parameters(), None) is not None:
            untrain(target.module)
            rebuild(RANDOM, method)
    seconds, kept = time.perf_counter() - start, slice(sizes.shown)
    return Audit(
        leak, target.shape, label(attack, ATTACKS.spelled(attack, options)), method.access, scale, seed,
        len(attacked), len(validation),
        psnr={name: measure.psnr(victims, made).float() for name, made in rebuilt.items()},
        ssim={name: measure.ssim(victims, made).float() for name, made in rebuilt.items()},
        originals=victims[kept].clone(), rebuilt={name: made[kept].clone() for name, made in rebuilt.items()},
        accuracy=accuracy, details=details, seconds=seconds, device=device_name(device),
    )  # fmt: skip


def _class_means(images: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
    """The mean image of each wanted class, ``(N, C, H, W)``; that of all images where a class has none."""
    return torch.stack([(images[labels == k] if k in labels else images).mean(0) for k in wanted])


def _check(module: nn.Module, images: Tensor, labels: Tensor | None, pool: Tensor, seed: int) -> None:
    seed_of(seed)
    if not isinstance(module, nn.Module):
        raise ValueError(f"module must be a torch.nn.Module, not {_kind(module)}.")
    for name, given in (("images", images), ("holdout", pool)):
        if not isinstance(given, Tensor) or given.ndim != 4 or not given.is_floating_point():
            raise ValueError(f"{name} must be a tensor of floats (N, C, H, W), not {_kind(given)}.")
        if len(given) < FEWEST or min(given.shape[2:]) < SSIM_WINDOW:
            least = f"{SSIM_WINDOW} x {SSIM_WINDOW} pixels"
            raise ValueError(f"{name} must be {FEWEST} or more of {least} or more, not {_kind(given)}.")
        if not bool(((given >= 0) & (given <= 1)).all()):  # NaN is neither
            raise ValueError(f"{name} must lie in [0, 1], not from {float(given.min())} to {float(given.max())}.")
    if pool.shape[1:] != images.shape[1:]:
        raise ValueError(f"holdout must hold images {tuple(images.shape[1:])}, not {tuple(pool.shape[1:])}.")
    whole = isinstance(labels, Tensor) and not labels.is_floating_point()
    if labels is not None and not (whole and labels.shape == images.shape[:1]):
        raise ValueError(f"labels must be a tensor of {len(images)} whole numbers, not {_kind(labels)}.")


def _kind(given: Any) -> str:
    return f"{given.dtype} {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
