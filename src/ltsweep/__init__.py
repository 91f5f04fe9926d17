"""ltsweep: lottery-ticket studies as one command."""
