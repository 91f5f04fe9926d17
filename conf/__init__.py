"""The YAML choices of every config group, importable so that Hydra's `pkg://ltsweep.conf` finds them."""
