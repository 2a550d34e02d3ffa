"""What data sets there are, and what a path of your own holds, in words."""

from __future__ import annotations

from collections import Counter

from .datasets import check_dataset, load_images
from .folders import Found
from .known import DATASETS, data_home
from .sources import read, source
from .split import check_images


def described() -> list[str]:
    """A line a known data set: images, licence, origin, and whether it is there.

    >>> described()[0].split(":")[0]
    'mnist'
    """
    lines = []
    for name, known in DATASETS.items():
        there = [place for place in known.places if (data_home() / place).exists()]
        where = f"in {data_home() / there[0]}" if there else f"not in {data_home()}"
        where = where if known.places else "comes with a library that is installed"
        labelled = "" if known.attribute is None else f", labelled by attribute={known.attribute} unless told otherwise"
        bundled = ", a part of it in the package" if known.bundled else ""
        size = "" if known.size is None else f", resized to {known.size} x {known.size} unless size= says otherwise"
        lines.append(
            f"{name}: {known.total:,} images of {len(known.classes)} classes{size}{labelled}; {known.origin}; licence: "
            f"{known.licence}; {where}{bundled}."
        )
    return lines


def checked(text: str) -> list[str]:
    """What a path, or a known data set, holds: images, sizes, classes with their counts, what is resized or left out.

    Raises:
        ValueError, OSError: it is refused; the sentence says why.
    """
    of = source(check_dataset(text))
    if of.name in DATASETS:
        images = load_images(text, bundled=True, part=True)
        found = Found(images.images, images.labels, images.classes)
    else:
        found = read(of)
    count, channels, height, width = found.images.shape
    kind = {1: "grey", 3: "RGB"}[channels]
    lines = [f"{text}: {count:,} {kind} images of {height} x {width} pixels in {len(found.classes)} classes."]
    counts = Counter(found.labels.tolist())
    lines += [f"  {name}: {counts[k]:,}" for k, name in enumerate(found.classes)]
    if found.resized:
        sizes = ", ".join(f"{n:,} of {h} x {w}" for (h, w), n in sorted(found.sizes.items(), key=lambda i: -i[1])[:5])
        lines.append(f"{found.resized:,} are resized ({sizes}{', ...' if len(found.sizes) > 5 else ''}).")
    if found.skipped:
        lines.append(f"{len(found.skipped):,} broken ones are left out: {', '.join(found.skipped[:5])}.")
    if found.ignored:
        lines.append(f"{found.ignored:,} other files are ignored.")
    check_images(text, found.images, found.labels, found.classes)
    return lines
