"""Warmup jobs: what may run, what runs, and what it comes to."""
