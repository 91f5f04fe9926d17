"""Overrides to cells, without torch."""
