"""CelebA as torchvision lays it out: faces of 178 x 218 pixels, and forty attributes of each.

The paper does not say which label its networks learn (the released code counts hair colours); here it is one attribute,
by default :data:`ATTRIBUTE`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..checks import one_of
from ..ondisk import SLOW, Gathering
from ..progress import bar
from .pixels import Mode, coloured, resized

ATTRIBUTE = "Smiling"
"""Half of the faces smile (48 %), so that a classifier has to look at them; the hair, say, is mostly one colour."""


def read_celeba(
    home: Path,
    size: int | None,
    mode: Mode | None = None,
    attribute: str | None = None,
    place: Path | None = None,
    download: bool = False,
) -> tuple[Tensor, Tensor]:
    """All images ``(N, 3, H, W)``, and whether each has the attribute, ``(N,)`` int64.

    Args:
        home: holds the folder ``celeba``, or gets it.
        size: the middle square is resized to so many pixels a side; ``None``: whole images as they are.
        mode: make grey or RGB images of all.
        attribute: one of CelebA's forty.
        place: file for the images where memory should not hold them; ``None``: one that is removed again.
        download: what is missing of it.

    Raises:
        ValueError: an attribute that there is not, a broken image.
        RuntimeError, OSError: of torchvision: it is not there, is damaged, or cannot be downloaded.
    """
    from torchvision.datasets import CelebA  # here: importing it costs a second that the bundled sets need not pay

    faces = CelebA(str(home), split="all", target_type="attr", download=download)
    names = [name for name in faces.attr_names if name]
    number = names.index(one_of("attribute", attribute or ATTRIBUTE, names))
    folder = home / "celeba" / "img_align_celeba"
    for name in faces.filename:
        if not (folder / name).exists():  # it may be about to be unpacked
            raise FileNotFoundError(f"{name} is missing")
    images = Gathering(place)
    for name in bar(iterable=faces.filename, desc="reading celeba", delay=SLOW):
        path = folder / name
        try:
            with Image.open(path) as image:
                pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]
        except OSError as error:
            raise ValueError(f"{path} cannot be read as an image ({error}); delete it and get celeba again.") from error
        images.add(coloured(resized(pixels if size is None else square(pixels), size), mode))
    return images.done(), faces.attr[:, number].long()


def square(images: Tensor) -> Tensor:
    """The middle of images, as wide as it is high.

    >>> square(torch.zeros(1, 3, 218, 178)).shape
    torch.Size([1, 3, 178, 178])
    """
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[..., top : top + side, left : left + side]
