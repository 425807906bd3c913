"""What every request passes: who may ask, and how an answer says no."""
