"""sparseguard: does sparse coding protect images against model inversion? A reproduction of Sparse-Guard.

An experiment takes a data split, lets a defense build and train a target, deploys the target behind a black box, lets
an attack learn to invert what leaks, and measures what came back.
"""

from .access import BlackBox
from .attacks import list_attacks
from .audit import audit
from .data import load_data
from .defenses import list_defenses
from .experiment import Experiment
from .result import Result
from .sparse import SparseCoding2d

__version__ = "0.1.0"
__all__ = [
    "BlackBox",
    "Experiment",
    "Result",
    "SparseCoding2d",
    "audit",
    "list_attacks",
    "list_defenses",
    "load_data",
]
