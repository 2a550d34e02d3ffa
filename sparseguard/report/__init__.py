"""Everything that draws: tables, figures, readings. Nothing here trains."""

from . import site
from .figures import image_distributions, privacy_utility, reconstruction_grid, save
from .lambdas import lambda_curves, lambda_multiples, lambda_reading
from .parameters import check_parameters
from .reading import reading
from .tables import Table, results_table
from .widgets import lambda_explorer

__all__ = [
    "Table",
    "check_parameters",
    "image_distributions",
    "lambda_curves",
    "lambda_explorer",
    "lambda_multiples",
    "lambda_reading",
    "privacy_utility",
    "reading",
    "reconstruction_grid",
    "results_table",
    "save",
    "site",
]
