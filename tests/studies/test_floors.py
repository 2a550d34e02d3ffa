"""Pictures that show nothing, in closed form where there is one."""

import math

import pytest
import torch

from sparseguard.data import load_data
from sparseguard.report import floor_table
from sparseguard.studies.floors import PICTURES, floors


def test_nothing_scores_what_it_must() -> None:
    found = {one.picture: one for one in floors("mnist", "smoke", [0])}
    assert tuple(found) == PICTURES
    split = load_data("mnist", "smoke")
    images, guess = split.train_images, split.attack_images.mean(0)
    errors = (images - guess).square().flatten(1).mean(1)
    assert found["mean image"].psnr == pytest.approx(float((-10 * errors.double().log10()).mean()), abs=1e-4)
    grey = (images - 0.1307).square().flatten(1).mean(1)
    assert found["zeros"].psnr == pytest.approx(float((-10 * grey.double().log10()).mean()), abs=1e-4)
    assert found["zeros"].released["psnr_released"] == -math.inf  # a reconstruction without a range
    assert found["unit noise"].released["psnr_released"] > found["mean image"].released["psnr_released"] + 5
    assert found["unit noise"].psnr < found["mean image"].psnr - 2


def test_each_seed_has_noise_of_its_own_and_the_caller_keeps_his() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = floors("mnist", "smoke", [0, 1])
    assert torch.equal(torch.rand(1), expected)
    assert first == floors("mnist", "smoke", [0, 1])
    noise = [one.psnr for one in first if one.picture == "unit noise"]
    assert noise[0] != noise[1]
    table = floor_table(first, "mnist", "smoke")
    assert list(table.frame.iloc[:, 0]) == list(PICTURES)
    assert table.frame["PSNR, released"].iloc[2] == "−∞"
    assert "seeds 0, 1; mean ± standard deviation" in table.caption
