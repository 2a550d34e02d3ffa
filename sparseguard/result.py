"""What one experiment measured, and how the store keeps it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from . import metrics as measure
from .reference import told

if TYPE_CHECKING:
    from .experiment import Experiment

METRICS = (
    "psnr", "ssim", "fid", "fd_judge", "row_frechet", "judge_accuracy", "accuracy",
    "psnr_mean_image", "ssim_mean_image", "judge_accuracy_originals",
    "seconds_target", "seconds_attack", "seconds_evaluation",
)  # fmt: skip

OF_CLASSES = (
    "judge_top5", "judge_confidence", "distance_private", "distance_holdout",
    "precision", "recall", "density", "coverage",
)  # fmt: skip
"""Further ones of an attack on classes: of what it found, and under ``..._prior_only`` of its control, which has
``psnr``, ``ssim``, ``fd_judge`` and ``judge_accuracy`` too."""
OF_PRIOR = tuple(f"{name}_prior_only" for name in ("psnr", "ssim", "fd_judge", "judge_accuracy", *OF_CLASSES))

OF_VICTIM = ("psnr_released", "ssim_released", "row_frechet_released", "accuracy_after")
"""Further ones of an attack that may change its target: the printed three as the released code takes them, and the
target's accuracy once the attack is done with it."""


@dataclass(frozen=True)
class Result:
    """What one experiment measured.

    Attributes:
        metrics: the numbers of :data:`METRICS`; one that was not measured is ``None``, and ``details["notes"]`` says
            why. PSNR in dB, SSIM in [-1, 1], accuracies in [0, 1], distances without a unit (``row_frechet`` in 10^3).
        per_image: ``psnr`` and ``ssim`` of every training image, ``(N,)``.
        originals, reconstructions: the first K training images and what the attack made of them, ``(K, C, H, W)`` in
            [0, 1], aligned. No other private image is kept. Of an attack on classes: the first K images that it found,
            and the private ones of their class that are nearest to them; ``per_image`` is of these pairs then.
        exhibits: what the defense made in training, by name, ``(K, C, h, w)`` each: dictionaries, generated images.
        details: what the attack tells of itself (``attack``, see :class:`sparseguard.attacks.Fitted`), device,
            versions, notes, the number of the target's ``parameters``, and ``facts`` that the defense's training
            established, by name.
    """

    experiment: Experiment
    metrics: dict[str, float | None]
    per_image: dict[str, Tensor]
    originals: Tensor
    reconstructions: Tensor
    details: dict[str, Any]
    exhibits: dict[str, Tensor]

    @property
    def seconds(self) -> float:
        """All that training and measuring took when this was computed."""
        return sum(v for name, v in self.metrics.items() if name.startswith("seconds_") and v is not None)

    @property
    def shipped(self) -> str | None:
        """When it was packed and of which version, if it came with the package."""
        return told({"details": self.details})

    @property
    def device(self) -> str:
        """What it was computed on."""
        return str(self.details["device"])

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """JSON-able record and tensors, as the store keeps them."""
        arrays = {"originals": self.originals, "reconstructions": self.reconstructions}
        record = {"experiment": asdict(self.experiment), "metrics": self.metrics, "details": self.details}
        groups = {"per_image": self.per_image, "exhibits": self.exhibits}
        return record, arrays | {f"{group}.{n}": tensor for group, held in groups.items() for n, tensor in held.items()}

    @classmethod
    def restore(cls, experiment: Experiment, record: dict[str, Any], arrays: dict[str, Tensor]) -> Result:
        """Inverse of :meth:`dump`."""

        def group(name: str) -> dict[str, Tensor]:
            return {key.removeprefix(f"{name}."): v for key, v in arrays.items() if key.startswith(f"{name}.")}

        images = arrays["originals"], arrays["reconstructions"]
        return cls(experiment, record["metrics"], group("per_image"), *images, record["details"], group("exhibits"))

    def fid_can_be_had_now(self) -> bool:
        """FID was wanted and not to be had when this was measured, and is to be had now."""
        if not self.experiment.fid or self.metrics["fid"] is not None:
            return False
        return measure.fid_obstacle(len(self.per_image["psnr"]), download=False) is None
