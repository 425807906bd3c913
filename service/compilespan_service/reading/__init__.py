"""What the processes of a state directory recorded, read for whoever asks."""
