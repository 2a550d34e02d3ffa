"""How well reconstructions show what the originals showed."""

from .classes import distance_to_class, manifolds, manifolds_of_classes, nearest_of_class
from .frechet import fid, fid_obstacle, frechet_distance, row_frechet
from .image import psnr, ssim
from .judge import Judge, fd_judge, judge_accuracy, judge_confidence, judge_features, train_judge
from .released import as_released

__all__ = [
    "Judge",
    "as_released",
    "distance_to_class",
    "fd_judge",
    "fid",
    "fid_obstacle",
    "frechet_distance",
    "judge_accuracy",
    "judge_confidence",
    "judge_features",
    "manifolds",
    "manifolds_of_classes",
    "nearest_of_class",
    "psnr",
    "row_frechet",
    "ssim",
    "train_judge",
]
