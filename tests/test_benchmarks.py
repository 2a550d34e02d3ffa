"""The benchmarks run, and what they compare holds; their speeds are nobody's test."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sparseguard import BlackBox, load_data
from sparseguard.access import Leaky
from sparseguard.metrics import psnr
from sparseguard.sparse.schedules import RULES

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


def printed(name: str, *options: str) -> list[list[str]]:
    """Cells of the rows that a benchmark prints."""
    command = [sys.executable, str(FOLDER / name), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]


def test_the_solver_benchmark_prints_its_table() -> None:
    rows = printed("sparse_coding.py", "--layer", "1-4-28", "--batch", "2", "--dictionaries", "2", "--repeats", "1")
    found = {row[1]: [float(cell) for cell in row[2:]] for row in rows if len(row) == 12 and row[0] == "1-4-28"}
    assert [name.split(" (c")[0] for name in found] == ["textbook", "fista (energy)", "fista (gap 1e-2)", "lca"]
    book, minimum, gap, lca = found.values()
    assert book[0] == 1
    assert book[6] == 0
    assert minimum[6] <= 0
    assert gap[7] <= 1e-2
    assert lca[8] < 1e-3
    assert book[8] < 5e-3  # its steps are not the trajectory
    assert [row[:2] for row in rows[-2:]] == [["1-4-28", "fista (gap 1e-2)"], ["1-4-28", "lca"]]


@pytest.mark.parametrize(
    ("asked", "limit"), [(0.5, 6 / 11), (RULES.limit_3, 1.1), (1.4, 1.4), (RULES.limit_2, 12 / 7), (3.0, 12 / 7)]
)
def test_the_stability_limits_are_found_numerically(asked: float, limit: float) -> None:
    """A path is stable for the step times eigenvalue that it is asked for: the parabola to 6/11, none beyond 12/7."""
    stability = runpy.run_path(str(FOLDER / "schedules.py"))["stability"]
    assert stability(asked, 1e4) == pytest.approx(limit, rel=1e-3)


def test_training_is_timed_against_the_first_row() -> None:
    rows = printed("training.py", "--scale", "smoke", "--images", "64", "--repeats", "1", "--defense", "none_conv")
    assert [(row[0], row[2]) for row in rows[1:]] == [("none_conv", "1.00")]


def test_decoders_of_another_design_find_what_leaks() -> None:
    """A target that leaks the image itself: every design comes far closer to it than the mean image does."""
    benchmark = runpy.run_path(str(FOLDER / "independent.py"))
    split = load_data("mnist", "smoke", 0)

    class Window(Leaky):
        def leak(self, x: Tensor) -> Tensor:
            return x

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)

    guess = float(psnr(split.held_images, split.attack_images.mean(0).expand_as(split.held_images)).mean())
    for design in benchmark["DESIGNS"]:
        network = benchmark["decode"](BlackBox(Window()), design, split.attack_images, split.held_images, 100)
        with torch.no_grad():
            assert float(psnr(split.held_images, network(split.held_images)).mean()) > guess + 3


def test_the_prior_benchmark_prints_a_line_a_prior_rate_and_target() -> None:
    command = [sys.executable, str(FOLDER / "priors.py"), "--prior", "pca", "--rate", "0.05", "--rate", "1e-9"]
    done = subprocess.run(
        [*command, "--target", "none", "--scale", "smoke"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    searched, still = done.stdout.splitlines()
    assert searched.startswith("pca, rate 0.05, none: judge 0.")
    assert ", distance x 1.00, " in still  # a search that does not move
    gained = [float(line.split("matching ")[1].split(" dB")[0]) for line in (searched, still)]
    assert gained[0] > gained[1] + 0.5


def test_the_descent_benchmark_prints_a_line_a_change() -> None:
    command = [sys.executable, str(FOLDER / "descents.py"), "--scale", "smoke", "--images", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first.startswith("the decoder's image: ")
    reached = {line[:28].strip(): line[28:].split(" (")[0] for line in lines}
    assert list(reached) == [
        "as it is", "softness 0.01", "softness 0.2", "softness 1", "systems 1", "systems 3",
        "accuracy 0.01, systems 40", "rate 0.01", "rate 0.05", "weight 0.02", "steady inf",
    ]  # fmt: skip
    assert reached["rate 0.05"] != reached["as it is"] != reached["softness 1"]
