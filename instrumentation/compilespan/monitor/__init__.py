"""A compile in progress: its clock, its counts, and its surroundings."""
