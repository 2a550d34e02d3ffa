"""One image on its way through a sparse-guard target, and back through the attack (paper, Figs. 2 and 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..access import grant
from ..data import load_data
from ..device import default_device
from ..experiment import Experiment
from ..progress import bar
from ..scales import check_scale
from ..sparse import SparseCoding2d
from ..store import Cell, Store
from ..trial import STAGES, trained
from .recalled import Recalled

_NAMES: tuple[tuple[type[nn.Module], str], ...] = (
    (SparseCoding2d, "sparse code"),
    (nn.BatchNorm2d, "batch norm"),
    (nn.Conv2d, "convolution"),
    (nn.Linear, "dense"),
)


@dataclass(frozen=True)
class Stage:
    """What one module puts out for the image, ``(C, H, W)``, and whose hands it is in."""

    name: str
    values: Tensor
    side: str
    """``"target"``: inside the network; ``"leak"``: what the attacker sees; ``"attack"``: what he makes of it."""


def walk_through(experiment: Experiment, store: Store | None = None) -> list[Stage]:
    """Train the target and the attack of an experiment, and send one hold-out image through both.

    The image stands in for a private one, which no notebook but the attack's own has to show: neither the target nor
    the attackers' updates have seen it (the choice among attackers has). Modules that only activate are left out.

    Args:
        experiment: any; its FID and metrics are not measured.
        store: where the stages are kept, and read by a second call; by default :func:`sparseguard.store.home`.

    Example:
        >>> stages = walk_through(Experiment(setting="split", defense="sparse_guard", scale="smoke"))  # doctest: +SKIP
        >>> [stage.name for stage in stages][:3], stages[-1].side, tuple(stages[-1].values.shape)  # doctest: +SKIP
        (['image', 'sparse code 1', 'batch norm 1'], 'attack', (1, 28, 28))
    """

    def compute() -> Cell:
        stages = _walk(experiment)
        labels = {"names": [s.name for s in stages], "sides": [s.side for s in stages]}
        return labels, {str(i): s.values for i, s in enumerate(stages)}

    def restore(record: dict[str, Any], arrays: dict[str, Tensor]) -> list[Stage]:
        return [Stage(n, arrays[str(i)], s) for i, (n, s) in enumerate(zip(record["names"], record["sides"]))]

    return Recalled({"study": "walk"}, compute, restore, experiment).measured(store)


@torch.no_grad()
def _walk(experiment: Experiment) -> list[Stage]:
    scale = check_scale(experiment.scale)
    split = load_data(experiment.dataset, experiment.scale, experiment.seed)
    device = default_device()
    with bar(len(STAGES), desc=STAGES[0]) as moved, trained(experiment, split, device) as target:
        moved.update()
        moved.set_description_str(STAGES[1])
        attack = experiment.make_attack()
        box = grant(attack.access, target)
        torch.manual_seed(experiment.seed)
        fitted = attack.fit(box, experiment.holdout_images(split), scale, device)
        image = split.held_images[:1]
        leak = attack.observe(box, image)
        rebuilt = fitted.reconstruct(leak)[0].cpu()
    stages, counts = [Stage("image", image[0], "target")], dict.fromkeys((name for _, name in _NAMES), 0)
    x = image.to(device)
    for module in [*target.eval().front, *target.body]:
        x = module(x)
        for kind, name in _NAMES:
            if isinstance(module, kind):
                counts[name] += 1
                stages.append(Stage(f"{name} {counts[name]}", x[0].cpu(), "target"))
    stages[-1] = Stage("leak", leak[0], "leak")
    name = fitted.details.get("attacker", experiment.attack)
    return [*stages, Stage(f"rebuilt by\n{name}", rebuilt, "attack")]
