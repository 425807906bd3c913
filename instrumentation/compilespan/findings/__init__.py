"""What cost the most, and what to do about it: from records to findings, by pure functions."""
