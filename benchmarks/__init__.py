"""Figures of the documentation, remade by one command each."""
