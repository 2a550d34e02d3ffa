"""Images: loaders, the seeded 70/30 split, the bundled mini sets."""

from .datasets import Images, at_hand, check_dataset, counterpart, dataset_title, load_images
from .known import DATASETS, data_home
from .sources import file_hash, fingerprint, source
from .split import Split, attack_images, judge_images, load_data, load_pool, taken, whole_pool

__all__ = [
    "DATASETS",
    "Images",
    "Split",
    "at_hand",
    "attack_images",
    "check_dataset",
    "counterpart",
    "data_home",
    "dataset_title",
    "file_hash",
    "fingerprint",
    "judge_images",
    "load_data",
    "load_images",
    "load_pool",
    "source",
    "taken",
    "whole_pool",
]
