"""Hydra plugins of ltsweep: the launcher of whole grids on one machine, and the sweeper that feeds it."""
