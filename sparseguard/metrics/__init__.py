"""How well reconstructions show what the originals showed."""

from .frechet import fid, fid_obstacle, frechet_distance, row_frechet
from .image import SSIM_WINDOW, psnr, ssim
from .judge import Judge, fd_judge, judge_accuracy, train_judge

__all__ = [
    "SSIM_WINDOW",
    "Judge",
    "fd_judge",
    "fid",
    "fid_obstacle",
    "frechet_distance",
    "judge_accuracy",
    "psnr",
    "row_frechet",
    "ssim",
    "train_judge",
]
