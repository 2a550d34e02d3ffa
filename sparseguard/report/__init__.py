"""Everything that draws: tables, figures, readings. Nothing here trains."""

from . import layer_figures, layer_tables, layer_widgets
from .about import provenance, provenance_of
from .answers import leak_summary
from .answers_studied import classes_summary, costs_summary, features_summary, layer_summary
from .answers_varied import budgets_summary, lambda_summary, noise_summary
from .audit import audit_figure, audit_reading, audit_table
from .budgets import attackers_table, budget_curves, budgets_reading, equal_accuracy_table, ladder_table
from .claims import claims_figure, claims_reading, claims_rule, claims_table, judge_claims, linked
from .classes import (
    classes_grid,
    classes_reading,
    classes_table,
    priors_grid,
    priors_table,
    search_curves,
    ssim_histogram,
)
from .clusters import features_figure, features_reading, features_table
from .costs import costs_figure, costs_table
from .costs_words import costs_reading
from .evidence import Evidence
from .figures import best_and_worst, headline, image_distributions, made_images, reconstruction_grid, save
from .front import claims_page, claims_summary, released_rows, sources_table, stored_rows
from .growth import growth_figure, growth_reading, growth_table, networks_table
from .lambdas import lambda_curves, lambda_multiples, lambda_reading, settling_curves, settling_reading
from .noise import noise_curves, noise_reading
from .paired import forest_plot, slope_chart
from .parameters import check_parameters
from .protocol import (
    audited,
    near_table,
    protocol_reading,
    protocol_summary,
    protocol_table,
    waterfall_attacks,
)
from .reading import reading
from .table import Table
from .tables import recomputed_table, results_table
from .utility import privacy_utility
from .waterfall import floor_table, updates_figure, waterfall_figure, waterfall_table
from .widgets import lambda_explorer

__all__ = [
    "Evidence", "Table", "attackers_table", "audit_figure", "audit_reading", "audit_table", "audited", "best_and_worst",
    "budget_curves", "budgets_reading", "budgets_summary", "check_parameters", "claims_figure", "claims_page",
    "claims_reading", "claims_rule", "claims_summary", "claims_table", "classes_grid", "classes_reading",
    "classes_summary", "classes_table", "costs_figure", "costs_reading", "costs_summary", "costs_table",
    "equal_accuracy_table", "features_figure", "features_reading", "features_summary", "features_table", "floor_table",
    "forest_plot", "growth_figure", "growth_reading", "growth_table", "headline", "image_distributions", "judge_claims",
    "ladder_table", "lambda_curves", "lambda_explorer", "lambda_multiples", "lambda_reading", "lambda_summary",
    "layer_figures", "layer_summary", "layer_tables", "layer_widgets", "leak_summary", "linked", "made_images",
    "near_table", "networks_table", "noise_curves", "noise_reading", "noise_summary", "priors_grid",
    "priors_table", "privacy_utility", "protocol_reading", "protocol_summary", "protocol_table", "provenance",
    "provenance_of", "reading", "recomputed_table", "reconstruction_grid", "released_rows", "results_table", "save",
    "search_curves", "settling_curves", "settling_reading", "slope_chart", "sources_table", "ssim_histogram",
    "stored_rows", "updates_figure", "waterfall_attacks", "waterfall_figure", "waterfall_table",
]  # fmt: skip
