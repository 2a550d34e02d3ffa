"""What a trained target makes of its private images after two layers, and how that clusters by class (paper, Fig. 4).

The picture is a UMAP projection. Beside it stand the silhouette of the classes in it, and two numbers that do not
depend on the projection: the silhouette among the features, and how well the nearest private features tell the class of
a hold-out image.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..data import load_data
from ..device import default_device, device_name
from ..experiment import Experiment
from ..progress import bar
from ..store import Cell, Store
from ..targets import Target
from ..trial import trained
from .recalled import Recalled

NEIGHBOURS = 5
SILHOUETTE_IMAGES = 10_000
"""Most images whose distances the silhouette looks at: it needs all pairs."""
PIXELS = "pixels"
"""Name of the control: the raw images, no target."""


@dataclass(frozen=True)
class Features:
    """Features of one target, in two dimensions and in numbers.

    Attributes:
        experiment: whose target it is; for the raw pixels only its data set, scale and seed count.
        layer: ``"pixels"``, or the target's :attr:`Experiment.label`.
        embedding: UMAP coordinates of all private images, ``(N, 2)``; no unit.
        labels: their classes, ``(N,)`` int64.
        silhouette: of the classes in feature space, mean over private images (at most :data:`SILHOUETTE_IMAGES` of
            them), in [-1, 1]; 1: tight and apart.
        knn: share of hold-out images whose class the :data:`NEIGHBOURS` nearest private features tell, in [0, 1].
        accuracy: of the target itself on the same hold-out images; ``None`` for the raw pixels.
        dimensions: of a feature vector.
        classes: their names.
        seconds, device: what training, measuring and projecting took, and where it ran.
        shipped: when it was packed and of which version, if it came with the package.
    """

    experiment: Experiment
    layer: str
    embedding: Tensor
    labels: Tensor
    silhouette: float
    knn: float
    accuracy: float | None
    dimensions: int
    classes: tuple[str, ...]
    seconds: float
    device: str
    shipped: str | None = None

    @cached_property
    def silhouette_plane(self) -> float:
        """Of the classes in :attr:`embedding`, as :attr:`silhouette` is in feature space: what the eye sees."""
        return _silhouette(self.embedding, self.labels, self.experiment.seed)


def after_two_layers(target: Target) -> nn.Sequential:
    """The target up to its second layer: its front where that learns, else the first two dense layers.

    The front of ``none_conv`` is two convolutions, that of ``sparse_guard`` two sparse layers, each with its batch
    norm; ``none`` has nothing but a fixed normalisation there. Dense layers come with their activation.

    Raises:
        ValueError: the front learns nothing and the body has fewer than two dense layers, as in the split setting.
    """
    if any(True for _ in target.front.parameters()):
        return target.front
    body, dense = list(target.body), 0
    for end, module in enumerate(body, start=1):
        dense += isinstance(module, nn.Linear)
        if dense == 2:
            activated = end < len(body) and not isinstance(body[end], nn.Linear)
            return nn.Sequential(target.front, *body[: end + activated])
    raise ValueError(f"the target has no two layers before its leak, but {dense}.")


@torch.no_grad()
def features_of(layers: nn.Module, images: Tensor, batch_size: int = 250) -> Tensor:
    """Features in inference mode, flattened, on the images' device: ``(N, C, H, W) -> (N, D)``."""
    layers.eval()
    device = next((p.device for p in layers.parameters()), images.device)
    return torch.cat([layers(part.to(device)).flatten(1).to(images.device) for part in images.split(batch_size)])


def clustering(
    features: Tensor, labels: Tensor, held_features: Tensor, held_labels: Tensor, seed: int = 0
) -> tuple[float, float]:
    """Silhouette of the classes, and accuracy of the nearest neighbours on held-out features, both Euclidean.

    Args:
        features: ``(N, D)``, of private images; the neighbours are looked for among these.
        held_features: ``(M, D)``.
        seed: draws the images of the silhouette where there are more than :data:`SILHOUETTE_IMAGES`.

    Example:
        >>> x, y = torch.tensor([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]]), torch.tensor([0, 0, 0, 1, 1, 1])
        >>> silhouette, knn = clustering(x, y, torch.tensor([[0.05], [9.05]]), torch.tensor([0, 1]))
        >>> round(silhouette, 2), knn
        (0.99, 1.0)
    """
    from sklearn.neighbors import KNeighborsClassifier

    neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(features))).fit(features.numpy(), labels.numpy())
    return _silhouette(features, labels, seed), float(neighbours.score(held_features.numpy(), held_labels.numpy()))


def _silhouette(points: Tensor, labels: Tensor, seed: int) -> float:
    from sklearn.metrics import silhouette_score

    sample = SILHOUETTE_IMAGES if len(points) > SILHOUETTE_IMAGES else None
    return float(silhouette_score(points.numpy(), labels.numpy(), sample_size=sample, random_state=seed))


def project(features: Tensor, seed: int) -> Tensor:
    """UMAP with umap-learn's default parameters: ``(N, D) -> (N, 2)``; the same seed gives the same picture."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)  # for a part that is not used
        from umap import UMAP  # here: importing it takes ten seconds

    threads = torch.get_num_threads()
    # one job: what umap falls back to, with a warning, where the seed is fixed
    embedding = UMAP(random_state=seed, n_jobs=1).fit_transform(features.numpy())
    torch.set_num_threads(threads)  # numba shares OpenMP with torch, and leaves it at all cores
    return torch.from_numpy(embedding).float()


def _experiment(dataset: str, layer: str, lam: float | None, scale: str, seed: int) -> Experiment:
    defense = "none" if layer == PIXELS else layer
    return Experiment(dataset, "end_to_end", defense, lam, scale=scale, seed=seed, fid=False)


def study(
    datasets: Sequence[str] | str,
    layers: Sequence[str] | str,
    lam: float,
    scale: str,
    seeds: Sequence[int] | int,
    store: Store | None = None,
    progress: bool = True,
) -> list[Features]:
    """Every data set, layer and seed; finished ones are read from the store. All are checked before any is computed.

    Args:
        layers: ``"pixels"`` or names of defenses, whose targets are trained as :class:`Experiment` trains them.
        lam: sparsity of those that have one.

    Raises:
        ValueError: anything that is not allowed.
    """
    datasets, layers = ([v] if isinstance(v, str) else list(v) for v in (datasets, layers))
    seeds = [seeds] if isinstance(seeds, int) else list(seeds)
    for name, given in (("datasets", datasets), ("layers", layers), ("seeds", seeds)):
        if not given:
            raise ValueError(f"{name} must name at least one value; it is empty.")
    wanted = [
        (_experiment(dataset, layer, lam, scale, seed), layer == PIXELS)
        for dataset in datasets
        for layer in layers
        for seed in seeds
    ]
    found = []
    with bar(len(wanted), shown=progress) as moved:
        for experiment, pixels in wanted:
            moved.set_description_str(f"{experiment.dataset}, {PIXELS if pixels else experiment.label}")
            found.append(measure(experiment, pixels, store))
            moved.update()
    return found


def measure(experiment: Experiment, pixels: bool = False, store: Store | None = None) -> Features:
    """Train the experiment's target and measure its features, or read what a former call found.

    Args:
        pixels: the raw images instead of a target's features.
        store: by default :func:`sparseguard.store.home`. It keeps coordinates and labels, no image.
    """
    return _study(experiment, pixels).measured(store)


def stored(experiment: Experiment, pixels: bool = False, store: Store | None = None) -> Features | None:
    """What :func:`measure` would read from the store; nothing is computed."""
    return _study(experiment, pixels).stored(store)


def _study(experiment: Experiment, pixels: bool) -> Recalled[Features]:
    layer = PIXELS if pixels else experiment.label
    return Recalled(
        {"study": "clusters", "pixels": pixels, "k": NEIGHBOURS},
        lambda: _compute(experiment, pixels),
        lambda record, arrays: Features(
            experiment, layer, arrays["embedding"], arrays["labels"],
            **record | {"classes": tuple(record["classes"])},
        ),
        experiment,
    )  # fmt: skip


def _compute(experiment: Experiment, pixels: bool) -> Cell:
    start, device = time.perf_counter(), default_device()
    split = load_data(experiment.dataset, experiment.scale, experiment.seed)
    accuracy = None
    layers: nn.Module = nn.Identity()
    if not pixels:
        with trained(experiment, split, device) as target:
            layers = after_two_layers(target)
            torch.manual_seed(experiment.seed)  # some answer at random
            logits = features_of(target, split.held_images)
        accuracy = float((logits.argmax(1) == split.held_labels).float().mean())
    features, held = (features_of(layers, images) for images in (split.train_images, split.held_images))
    silhouette, knn = clustering(features, split.train_labels, held, split.held_labels, experiment.seed)
    embedding = project(features, experiment.seed)
    record = {
        "silhouette": silhouette,
        "knn": knn,
        "accuracy": accuracy,
        "dimensions": features.shape[1],
        "classes": split.classes,
        "seconds": time.perf_counter() - start,
        "device": device_name(device),
    }
    return record, {"embedding": embedding, "labels": split.train_labels}
