"""The loop over levels."""
