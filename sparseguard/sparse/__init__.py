"""Sparse coding: the layer, its solvers and the operators beneath them. Imports nothing else of the project."""

from .layer import SOLVERS, SparseCoding2d, standardize

__all__ = ["SOLVERS", "SparseCoding2d", "standardize"]
