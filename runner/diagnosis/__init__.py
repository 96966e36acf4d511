"""Diagnosis: look into a network while it trains, and say what is wrong with evidence."""
