"""The ledger on disk: one process writes its file, others read all files of a directory."""
