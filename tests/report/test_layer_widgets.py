"""The layer to play with, without a browser: what follows the sliders, and what a batch run has in their place."""

import math
import re

import pytest
import torch

from sparseguard.report import layer_widgets, stepper
from sparseguard.report.summary import Markup
from sparseguard.sparse import SparseCoding2d
from sparseguard.studies.layer import LayerStudy
from sparseguard.studies.trace import moments


@pytest.fixture
def study() -> LayerStudy:
    return LayerStudy(scale="smoke", seeds=[0], lams=[0.1, 0.5], features=4)


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepper, "is_live", lambda: True)


def test_moments_are_the_layers_codes_and_the_energy_falls_to_the_minimum(fashion: torch.Tensor) -> None:
    torch.manual_seed(0)
    layer = SparseCoding2d(1, 4, lam=0.3, tau=100.0)
    found = moments(layer, fashion[:1], [0.5, 5.0, 40.0, math.inf])
    assert torch.equal(found[1].code, layer(fashion[:1])[0])
    layer.requires_grad_(False)
    for one in found:
        whole, nothing = (layer.energy(fashion[:1], code[None]) for code in (one.code, torch.zeros_like(one.code)))
        assert one.energy == pytest.approx(float(whole / nothing), rel=1e-5)
        assert one.active == float((one.code != 0).float().mean())
    assert [one.energy for one in found] == sorted((one.energy for one in found), reverse=True)
    assert found[2].energy == pytest.approx(found[3].energy, rel=0.01)
    assert found[0].image.shape == (1, 32, 32)


@pytest.mark.usefixtures("somebody")
def test_pictures_and_their_texts_follow_the_sliders(study: LayerStudy) -> None:
    for box, moves, told in (
        (layer_widgets.trajectory(study), (2.0, 0.1), "After 2 τ at λ = 0.1 "),
        (
            layer_widgets.competition(),
            (30, 0.5, 0.4),
            "Two features at 30°, an input with drives 0.97 and 0.97, λ = 0.4",
        ),
    ):
        assert not isinstance(box, Markup)
        *sliders, picture = box.children
        for slider, value in zip(sliders, moves, strict=True):
            before = re.findall(r'="([^"]+)"', picture.value)
            slider.value = value
            after = re.findall(r'="([^"]+)"', picture.value)
            assert [a != b for a, b in zip(before, after)] == [True, False, False, False, False, True]
            assert slider.description
        assert told in after[0]


def test_a_batch_run_has_a_button_for_each_step_and_each_picture_its_text(study: LayerStudy) -> None:
    shown = layer_widgets.trajectory(study), layer_widgets.competition()
    buttons = [re.findall(r"<label[^>]*>([^<]*)</label>", str(one)) for one in shown]
    assert buttons[0] == ["0.25 τ", "0.5 τ", "1 τ", "2 τ", "5 τ", "settled"]
    assert buttons[1] == ["15°", "30°", "45°", "60°", "90°"]
    for one, told in zip(shown, buttons):
        texts = re.findall(r'<img alt="([^"]*)"', str(one))
        assert [text in alt.lower() for text, alt in zip(told, texts, strict=True)] == [True] * len(told)
    assert not {*re.findall(r'id="([^"]*)"', shown[0])} & {*re.findall(r'id="([^"]*)"', shown[1])}
