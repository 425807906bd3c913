"""One run of a program: taken from its journals, kept in a file, drawn by `reporters`."""
