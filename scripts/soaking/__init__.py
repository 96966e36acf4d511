"""What scripts/soak does: commands that are killed and gone on with, compared with uncut ones."""
