import pytest
import torch

from sparseguard.data import attack_images, judge_images, load_data, load_pool
from sparseguard.metrics import fd_judge, judge_accuracy, train_judge
from sparseguard.scales import SCALES


def test_the_judge_recognises_classes_and_distances_grow_with_damage() -> None:
    split = load_data("mnist", "quick", 0)
    judge = train_judge(judge_images("mnist", "quick"), SCALES["quick"], seed=0)
    assert judge_accuracy(judge, split.held_images, split.held_labels) > 0.9
    images, labels = split.train_images, split.train_labels
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    little, much = (images + 0.1 * noise).clamp(0, 1), (images + 1.0 * noise).clamp(0, 1)
    assert fd_judge(judge, images, images) < 1e-6
    assert fd_judge(judge, images, little) < fd_judge(judge, images, much)
    assert judge_accuracy(judge, much, labels) < judge_accuracy(judge, images, labels)
    assert judge_accuracy(judge, images[labels.argsort().roll(300).argsort()], labels) < 0.5


def test_the_judge_is_seeded_and_leaves_the_generator_alone() -> None:
    own = judge_images("mnist", "smoke")
    torch.manual_seed(7)
    first = train_judge(own, SCALES["smoke"], seed=0)
    after = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(1))
    again = train_judge(own, SCALES["smoke"], seed=0)
    for a, b in zip(first.parameters(), again.parameters()):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("scale", ["smoke", "quick"])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_judges_images_are_nobody_elses(name: str, scale: str) -> None:
    """Neither in a split of any seed, nor among the most that an attacker can have, nor in a public set."""
    own = judge_images(name, scale).images.flatten(1)
    assert len(own) == SCALES[scale].judge_images
    for seed in range(4):
        split = load_data(name, scale, seed)
        public, everybody = load_pool(name, SCALES[scale]).images, attack_images(split, scale, 3000).images
        others = torch.cat([split.train_images, everybody, split.held_images, public])
        assert float(torch.cdist(own, others.flatten(1)).min()) > 0, f"seed {seed}"
