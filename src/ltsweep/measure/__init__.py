"""What is looked at along the way: one file a measurement."""
