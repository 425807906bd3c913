"""What every request passes: access control, limits, and answers to invalid requests."""
