"""What scripts/diagnosis does: plant faults, see whether they are found, and paste the remedies."""
