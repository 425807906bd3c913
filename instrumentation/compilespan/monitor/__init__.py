"""One compile while it goes on: its clock, what it counts, and what surrounds it."""
