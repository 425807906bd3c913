"""Outputs for people and tools; one file each."""
