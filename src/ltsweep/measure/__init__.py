"""Measurements of networks during training, one file each."""
