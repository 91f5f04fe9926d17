"""C networks of equal shape trained as one program."""
