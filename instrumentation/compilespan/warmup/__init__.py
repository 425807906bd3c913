"""The warmup: run each shape until nothing compiles, then prove that compiled code runs."""
