"""What people and tools look at; a file for each output."""
