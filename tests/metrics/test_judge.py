import torch

from sparseguard.data import Split, load_data
from sparseguard.metrics import fd_judge, judge_accuracy, train_judge
from sparseguard.scales import SCALES


def test_the_judge_recognises_classes_and_distances_grow_with_damage() -> None:
    split: Split = load_data("mnist", "quick", 0)
    judge = train_judge(split, SCALES["quick"], seed=0)
    assert judge_accuracy(judge, split.held_images, split.held_labels) > 0.85
    images, labels = split.train_images, split.train_labels
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    little, much = (images + 0.1 * noise).clamp(0, 1), (images + 1.0 * noise).clamp(0, 1)
    assert fd_judge(judge, images, images) < 1e-6
    assert fd_judge(judge, images, little) < fd_judge(judge, images, much)
    assert judge_accuracy(judge, much, labels) < judge_accuracy(judge, images, labels)
    assert judge_accuracy(judge, images[labels.argsort().roll(300).argsort()], labels) < 0.5


def test_the_judge_is_seeded_and_leaves_the_generator_alone(split: Split) -> None:
    torch.manual_seed(7)
    first = train_judge(split, SCALES["smoke"], seed=0)
    after = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(1))
    again = train_judge(split, SCALES["smoke"], seed=0)
    for a, b in zip(first.parameters(), again.parameters()):
        torch.testing.assert_close(a, b)
