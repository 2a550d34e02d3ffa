import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparseguard.attacks.muon import BETAS, Muon


def network(rows: int = 6, columns: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(columns, rows), nn.ReLU(), nn.Unflatten(1, (rows, 1, 1)), nn.Conv2d(rows, 3, 3, padding=1)
    )


def conditioned(rows: int, columns: int) -> torch.Tensor:
    """A matrix with singular values between 1 and 4."""
    u, _, v = torch.linalg.svd(torch.randn(rows, columns), full_matrices=False)
    matrix: torch.Tensor = u @ torch.diag(torch.linspace(1.0, 4.0, min(rows, columns))) @ v
    return matrix


@given(rows=st.integers(2, 9), columns=st.integers(2, 9))
def test_a_step_turns_every_singular_value_of_a_gradient_into_about_the_same(rows: int, columns: int) -> None:
    layer = nn.Linear(columns, rows, bias=False)
    before = layer.weight.detach().clone()
    layer.weight.grad = conditioned(rows, columns)
    Muon(layer, 1.0).step(0.1)
    change = before - layer.weight.detach()
    length = 0.1 * 0.2 * max(rows, columns) ** 0.5  # the root mean square of Adam's steps
    found = torch.linalg.svdvals(change) / length
    assert float(found.min()) > 0.5
    assert float(found.max()) < 1.4


def test_convolutions_move_too_and_biases_move_as_adam_moves_them() -> None:
    ours, theirs = network(), network()
    muon = Muon(ours, 0.01)
    adam = torch.optim.Adam([p for p in theirs.parameters() if p.ndim < 2], lr=0.01, betas=BETAS)
    for _ in range(3):
        muon.zero_grad()
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
        ours(x).square().sum().backward()
        for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.grad = None if own.grad is None else own.grad.clone()
        muon.step(0.01)
        adam.step()
    for (name, own), other, start in zip(
        ours.named_parameters(), theirs.parameters(), network().parameters(), strict=True
    ):
        assert not torch.equal(own, start)
        if own.ndim < 2:
            assert torch.allclose(own, other), name


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), alike=st.integers(1, 3), decay=st.sampled_from([0.0, 5.0]))
def test_matrices_move_as_torchs_muon_moves_them(rows: int, columns: int, alike: int, decay: float) -> None:
    """As far as its bfloat16 goes."""
    ours = nn.ModuleList(nn.Linear(columns, rows, bias=False) for _ in range(alike))
    theirs = [nn.Parameter(p.detach().clone()) for p in ours.parameters()]
    muon = Muon(ours, 0.01, decay)
    other = torch.optim.Muon(theirs, lr=0.01, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    first = [conditioned(rows, columns) for _ in theirs]
    for share in (1.0, -0.1, -0.1):  # against what came before: momentum carries on
        for own, twin, gradient in zip(ours.parameters(), theirs, first, strict=True):
            own.grad = share * gradient
            twin.grad = own.grad.clone()
        muon.step(0.01)
        other.step()
    for own, twin in zip(ours.parameters(), theirs, strict=True):
        step = 0.01 * 0.2 * max(rows, columns) ** 0.5
        assert float((own - twin).detach().norm()) < 0.1 * step * 3 * min(rows, columns) ** 0.5


def test_what_takes_no_gradient_stays() -> None:
    net = network()
    fixed = next(net.parameters()).requires_grad_(False)
    kept = fixed.clone()
    muon = Muon(net, 0.1)
    net(torch.randn(2, 4)).sum().backward()
    muon.step(0.1)
    assert torch.equal(fixed, kept)
    muon.zero_grad()
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("bias", [True, False])
def test_a_network_of_one_kind_of_parameters_is_trained(bias: bool) -> None:
    net = nn.BatchNorm1d(3) if bias else nn.Linear(3, 3, bias=False)
    start = [p.detach().clone() for p in net.parameters()]
    muon = Muon(net, 0.1)
    net(torch.randn(4, 3)).square().sum().backward()
    muon.step(0.1)
    assert any(not torch.equal(a, b) for a, b in zip(start, net.parameters(), strict=True))
