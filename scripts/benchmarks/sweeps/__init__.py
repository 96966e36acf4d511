"""Whole sweeps, from the start of a process to its end: the runner's against those of others."""
