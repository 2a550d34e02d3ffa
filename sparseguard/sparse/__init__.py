"""Sparse coding: the layer, its solvers and the operators beneath them. Imports nothing else of the project."""

from .layer import SOLVERS, SparseCoding2d, positive, standardize

__all__ = ["SOLVERS", "SparseCoding2d", "positive", "standardize"]
