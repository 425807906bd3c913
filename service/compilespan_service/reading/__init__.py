"""Reads what the processes of a state directory recorded."""
