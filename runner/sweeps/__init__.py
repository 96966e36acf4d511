"""Sweeps: many configurations as one object, planned, trained side by side, shown, resumed."""
