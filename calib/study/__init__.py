"""Grids of held-out evaluations: tables, sources, calibrators, splits, sizes and seeds."""
