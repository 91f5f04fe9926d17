"""Cells to stacks to workers."""
