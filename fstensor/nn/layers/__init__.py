"""Layers, by families."""
