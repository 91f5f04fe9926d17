"""Claims: what a study is said to show, each a small YAML, and the verdict of the records."""
