"""A study as Slurm tasks."""
