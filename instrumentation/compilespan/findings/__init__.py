"""Pure functions from records to findings: what cost the most, and what to do about it."""
