"""Layers: what users hold in their hands."""
