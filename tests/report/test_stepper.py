"""The stepper: a picture for each computed λ, that of the explorer, and nothing but HTML."""

import base64
import io
import re

import numpy as np
import torch
from PIL import Image

from sparseguard import Experiment, Result
from sparseguard.report.explorer import Explorer
from sparseguard.report.panels import picture
from sparseguard.report.stepper import lambda_stepper
from sparseguard.result import METRICS
from tests.report.test_widgets import cell


def plain(images: torch.Tensor, defense: str) -> Result:
    e = Experiment("mnist", "end_to_end", defense, scale="smoke")
    return Result(e, dict.fromkeys(METRICS, 0.5), {}, images, images / 2, {}, {})


def test_each_computed_lambda_has_its_button_its_numbers_and_the_explorers_picture() -> None:
    images = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    cells = [cell(images, "sparse_guard", lam) for lam in (0.5, 0.1)]
    shown = lambda_stepper([cell(images, "sparse_standard", 0.25), *cells], index=1)
    assert re.findall(r">λ = ([\d.]+)</label>", shown) == ["0.1", "0.5"]
    assert shown.count(" checked>") == 1
    assert "<script" not in shown
    assert "code of layer 1 at λ = 0.1, settled" in shown
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(p))).convert("RGB")).astype(int)
                for p in re.findall(r"base64,([^\"]+)", shown)]  # fmt: skip
    views = Explorer(cells).path([0.1, 0.5])
    assert len(pictures) == 2
    far = [[np.abs(found - picture(view, 1).astype(int)).mean() for view in views] for found in pictures]
    assert far[0][0] < far[0][1] / 2
    assert far[1][1] < far[1][0] / 2
    beside = lambda_stepper([*cells, *(plain(images, d) for d in ("none_conv", "none"))], index=1)
    assert "the attacker's; the attacker's through: no defense (all 2: " in beside
    assert "dB; accuracy of the network 0.50), convolutions (all 2: " in beside
    assert all("alt=" in tag for tag in re.findall(r"<img[^>]*>", shown))
