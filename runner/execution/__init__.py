"""From an assembled run to its record: train, save, resume, read back."""
