"""The ledger on disk: each process writes one file, readers read all files of a directory."""
