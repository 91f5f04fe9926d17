"""A study on the disk."""
