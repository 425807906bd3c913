"""Warmup jobs: admission, execution and results."""
