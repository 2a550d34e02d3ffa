import pytest
import torch
from torch import Tensor

from sparseguard.sparse import SparseCoding2d
from sparseguard.sparse.filterbank import FilterBank
from sparseguard.sparse.schedules import euler_schedule
from sparseguard.studies.trace import energy_curves, follow, kept, neurons


def textbook(layer: SparseCoding2d, x: Tensor) -> Tensor:
    """Eq. 2 with the similarity kernel written out: potentials after every iteration, ``(T, F, H, W)``."""
    d = layer.dictionary.detach()
    kh, kw = layer.kernel_size
    drive = torch.nn.functional.conv2d(layer.canvas(x), d)[0]
    kernel = torch.nn.functional.conv2d(torch.nn.functional.pad(d, (kw - 1, kw - 1, kh - 1, kh - 1)), d)
    for f in range(len(d)):
        kernel[f, f, kh - 1, kw - 1] -= 1.0  # G = Omega * Omega - I
    states = [torch.zeros_like(drive)]
    for _ in range(layer.iterations):
        p = states[-1]
        code = torch.relu(p - layer.lam)[None]
        held = torch.nn.functional.conv2d(code, kernel.transpose(0, 1).flip(2, 3), padding=(kh - 1, kw - 1))[0]
        states.append(p + (drive - p - held) / layer.tau)
    return torch.stack(states)


@pytest.fixture
def layer() -> SparseCoding2d:
    torch.manual_seed(0)
    return SparseCoding2d(1, 6, lam=0.3, tau=20.0, iterations=60, solver="euler").requires_grad_(False)


def test_potentials_are_the_textbooks_at_every_iteration(layer: SparseCoding2d, fashion: Tensor) -> None:
    found = neurons(layer, fashion[:1], (12, 9))
    torch.testing.assert_close(found.potentials, textbook(layer, fashion[:1])[:, :, 12, 9], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.potentials[1], found.drive / layer.tau)  # no competition before the first step


def test_the_traced_end_is_the_layers_code(layer: SparseCoding2d, fashion: Tensor) -> None:
    code = layer(fashion[:1])
    found = neurons(layer, fashion[:1])
    torch.testing.assert_close(found.codes[-1], code[0, :, found.row, found.column])
    assert float(code.sum(1).max()) == pytest.approx(float(found.codes[-1].sum()), rel=1e-5)


def test_neurons_want_one_image(layer: SparseCoding2d, fashion: Tensor) -> None:
    with pytest.raises(ValueError, match=r"one image, \(1, C, H, W\), not \(2, 1, 28, 28\)"):
        neurons(layer, fashion[:2])


def test_energies_fall_to_the_minimum_and_start_at_the_zero_code(layer: SparseCoding2d, fashion: Tensor) -> None:
    x = fashion[:3, :, ::2, ::2]
    curves = {curve.solver: curve for curve in energy_curves(layer, x)}
    assert list(curves) == ["euler", "lca", "fista"]
    euler, lca, fista = curves.values()
    for curve in curves.values():
        assert int(curve.evaluations[0]) == 0
        assert float(curve.excess[0]) == pytest.approx(float(euler.excess[0]))
        assert (curve.excess.diff() < 1e-9).all()
        assert (curve.excess > -1e-9).all()
    assert len(euler.excess) == 61
    canvas_energy = 0.5 * layer.canvas(x).square().sum((1, 2, 3))
    ended = (layer.energy(x, layer(x)) / canvas_energy).mean()
    least = (canvas_energy / canvas_energy).mean() - euler.excess[0]
    assert float(euler.excess[-1]) == pytest.approx(float(ended - least), abs=1e-5)
    assert float(fista.excess[-1]) < 1e-4 < float(euler.excess[-1])
    assert int(lca.evaluations[-1]) < 40
    assert euler.reaches(1e-9) is None
    assert euler.reaches(float(euler.excess[7])) == 7


@torch.no_grad()
def test_an_evaluation_is_one_synthesis_and_one_analysis(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"analysis": 0, "synthesis": 0}
    for name in calls:
        method = getattr(FilterBank, name)

        def counted(self: FilterBank, x: Tensor, name: str = name, method: object = method) -> Tensor:
            calls[name] += 1
            return method(self, x)  # type: ignore[operator,no-any-return]

        monkeypatch.setattr(FilterBank, name, counted)
    canvas, dictionary = torch.rand(2, 4, 10, 10), torch.rand(6, 4, 5, 5)
    list(follow(canvas, dictionary, 0.1, euler_schedule(20.0, 7), stride=(1, 1)))
    assert calls == {"analysis": 8, "synthesis": 7}  # one more: the drive


def test_what_is_kept_is_all_at_no_price_and_nothing_at_any(fashion: Tensor) -> None:
    torch.manual_seed(0)
    found = [kept(SparseCoding2d(1, 16, lam=lam, solver="fista"), fashion[:4, :, ::2, ::2]) for lam in (1e-3, 0.5, 1e6)]
    assert found[0][1] > 0.99
    assert 0.5 < found[1][1] < found[0][1]
    assert 0.0 < found[1][0] < found[0][0]
    assert found[2] == (0.0, 0.0)
