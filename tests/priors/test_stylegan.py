"""Checked against StyleGAN2 as its repository computes it: transposed convolution first, then the filter."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from sparseguard.attacks import make_attack
from sparseguard.priors import make_prior
from sparseguard.priors.stylegan import StyleGAN, doubled, load_stylegan, modulated
from sparseguard.scales import SCALES

W, WIDE = 8, 6


def checkpoint(size: int = 32, channels: int = 1) -> dict[str, Tensor]:
    """Random parameters under the names of a generator with two mapping layers."""
    chance = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=chance)

    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    state = {"mapping.w_avg": drawn(W), "synthesis.b4.const": drawn(WIDE, 4, 4)}
    for k in range(2):
        state |= {f"mapping.fc{k}.weight": 100 * drawn(W, W), f"mapping.fc{k}.bias": drawn(W)}
    at = 4
    while at <= size:
        name = f"synthesis.b{at}"
        state[f"{name}.resample_filter"] = torch.outer(taps, taps) / 64
        for layer in (["conv0"] if at > 4 else []) + ["conv1", "torgb"]:
            out, reach = (channels, 1) if layer == "torgb" else (WIDE, 3)
            state |= {
                f"{name}.{layer}.affine.weight": drawn(WIDE, W), f"{name}.{layer}.affine.bias": torch.ones(WIDE),
                f"{name}.{layer}.weight": drawn(out, WIDE, reach, reach), f"{name}.{layer}.bias": 0.1 * drawn(out),
            }  # fmt: skip
            if layer != "torgb":
                state |= {f"{name}.{layer}.noise_const": drawn(at, at), f"{name}.{layer}.noise_strength": drawn(1)[0]}
        at *= 2
    return state


def test_a_modulated_convolution_is_one_with_each_images_own_weights() -> None:
    torch.manual_seed(0)
    x, weight, style = torch.randn(3, 4, 5, 5), torch.randn(2, 4, 3, 3), torch.randn(3, 4)
    for demodulate in (True, False):
        for image, of, found in zip(x, style, modulated(x, weight, style, demodulate)):
            own = weight * of[None, :, None, None]
            if demodulate:
                own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
            torch.testing.assert_close(found, F.conv2d(image[None], own, padding=1)[0], atol=1e-5, rtol=1e-4)


def test_doubling_keeps_a_flat_image_and_places_pixels_evenly() -> None:
    taps = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64
    flat = doubled(torch.ones(1, 2, 6, 6), taps)
    assert flat.shape == (1, 2, 12, 12)
    torch.testing.assert_close(flat[..., 2:-2, 2:-2], torch.ones(1, 2, 8, 8))
    ramp = doubled(torch.arange(6.0).expand(1, 1, 6, 6), taps)[0, 0, 5, 2:-2]
    torch.testing.assert_close(ramp, torch.arange(8.0) / 2 + 0.75)  # half a pixel apart, a quarter off the old ones


def test_it_draws_what_the_network_of_the_checkpoint_draws() -> None:
    """The same by the order of operations of the repository, in which an upsampling layer convolves first."""
    state = checkpoint(8)
    prior = StyleGAN(state, (1, 8, 8))
    latent = prior.draw(3, torch.Generator().manual_seed(1))
    pad, gain = (1, 1, 1, 1), 2**0.5

    def dense(name: str, x: Tensor, rate: float = 1.0) -> Tensor:
        out: Tensor = x @ (state[f"{name}.weight"].T * rate / x.shape[1] ** 0.5) + rate * state[f"{name}.bias"]
        return out

    def convolved(name: str, x: Tensor, up: bool) -> Tensor:
        styles, weight = dense(f"{name}.affine", latent), state[f"{name}.weight"]
        own = weight[None] * styles[:, None, :, None, None]
        own = own / (own.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
        found = []
        for image, kernel in zip(x, own):
            if up:
                full = F.conv_transpose2d(image[None], kernel.transpose(0, 1), stride=2)
                taps = 4 * state["synthesis.b8.resample_filter"].expand(WIDE, 1, 4, 4)
                found.append(F.conv2d(F.pad(full, pad), taps, groups=WIDE)[0])
            else:
                found.append(F.conv2d(image[None], kernel, padding=1)[0])
        out = torch.stack(found) + state[f"{name}.noise_const"] * state[f"{name}.noise_strength"]
        return gain * F.leaky_relu(out + state[f"{name}.bias"][None, :, None, None], 0.2)

    def colours(name: str, x: Tensor) -> Tensor:
        styles = dense(f"{name}.affine", latent) / WIDE**0.5
        drawn = torch.einsum("nihw,ni,oi->nohw", x, styles, state[f"{name}.weight"][:, :, 0, 0])
        return drawn + state[f"{name}.bias"][None, :, None, None]

    x = convolved("synthesis.b4.conv1", state["synthesis.b4.const"].expand(3, -1, -1, -1), False)
    image = colours("synthesis.b4.torgb", x)
    x = convolved("synthesis.b8.conv1", convolved("synthesis.b8.conv0", x, True), False)
    taps = 4 * state["synthesis.b8.resample_filter"][None, None]
    larger = F.conv_transpose2d(image, taps, stride=2)[..., 1:-1, 1:-1]
    expected = ((larger + colours("synthesis.b8.torgb", x) + 1) / 2).clamp(0, 1)
    assert float(((expected > 0) & (expected < 1)).float().mean()) > 0
    torch.testing.assert_close(prior(latent), expected, atol=2e-4, rtol=1e-3)


def test_latents_are_drawn_around_the_mean_one_and_searched_in_one_piece() -> None:
    state = checkpoint()
    prior = StyleGAN(state, (1, 28, 28))
    z = torch.randn(2, W, generator=torch.Generator().manual_seed(3))
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for k in range(2):
        x = x @ (state[f"mapping.fc{k}.weight"].T * 0.01 / W**0.5) + 0.01 * state[f"mapping.fc{k}.bias"]
        x = 2**0.5 * F.leaky_relu(x, 0.2)
    expected = state["mapping.w_avg"] + 0.5 * (x - state["mapping.w_avg"])
    torch.testing.assert_close(prior.draw(2, torch.Generator().manual_seed(3)), expected)
    whole = StyleGAN(state, (1, 28, 28), truncation=1.0)
    torch.testing.assert_close(whole.draw(2, torch.Generator().manual_seed(3)), x)
    latent = expected.clone().requires_grad_()
    images = prior(latent)
    assert images.shape == (2, 1, 28, 28)
    (gradient,) = torch.autograd.grad(images.sum(), [latent])
    assert float(gradient.abs().sum()) > 0


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_a_checkpoint_is_read_from_either_file(ending: str, tmp_path: Path) -> None:
    file, state = tmp_path / f"g.{ending}", checkpoint()
    if ending == "pt":
        torch.save(state, file)
    else:
        save_file(state, file)
    assert make_attack("plug_and_play", prior=f"stylegan:{file}").prior == f"stylegan:{file}"  # type: ignore[attr-defined]
    prior = make_prior(f"stylegan:{file}", torch.rand(3, 1, 28, 28), None, SCALES["smoke"])
    assert prior.sample(2, torch.Generator()).shape == (2, 1, 28, 28)


class Planted:
    """What a pickle could run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("unpickled",)


def test_what_is_no_such_checkpoint_is_refused_in_one_sentence(tmp_path: Path) -> None:
    def refused(state: object, message: str, name: str = "g.pt", shape: tuple[int, int, int] = (1, 28, 28)) -> None:
        torch.save(state, tmp_path / name)
        with pytest.raises(ValueError, match=message):
            load_stylegan(tmp_path / name, shape)

    with pytest.raises(ValueError, match="there is no StyleGAN checkpoint .*nowhere.pt"):
        make_attack("leak_matching", prior=f"stylegan:{tmp_path / 'nowhere.pt'}")
    refused({"a": Planted()}, "holds no tensors alone")
    refused(checkpoint(), "holds no tensors alone", "g.safetensors")
    (tmp_path / "text.pt").write_text("no checkpoint")
    with pytest.raises(ValueError, match="text.pt holds no tensors alone"):
        load_stylegan(tmp_path / "text.pt", (1, 28, 28))
    refused([torch.rand(2)], "it holds no tensors by name")
    refused({"layer.weight": torch.rand(2)}, "it has no mapping.w_avg")
    refused({k: v for k, v in checkpoint().items() if "b16.conv1.bias" not in k}, "no synthesis.b16.conv1.bias")
    refused(checkpoint() | {"mapping.embed.weight": torch.rand(2)}, "the StyleGAN is conditional")
    refused(checkpoint(16), "draws images of 1 x 16 x 16, which cannot be brought to 1 x 28 x 28")
    refused(checkpoint(channels=3), "draws images of 3 x 32 x 32, which cannot be brought to 1 x 28 x 28")
    refused(checkpoint(), "1 x 32 x 32, which cannot be brought to 3 x 28 x 28", shape=(3, 28, 28))
