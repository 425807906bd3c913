"""A run of a program: read from its journals, stored in a file, rendered by `reporters`."""
