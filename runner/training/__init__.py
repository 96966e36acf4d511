"""Train a model: one loop, a step made ready once, hooks called when due, checkpoints.

Letters in shapes: B samples in a batch, C classes or output columns.
"""
