"""Augmentations: batched on the device, each sample with draws of its own.

All randomness is drawn outside the training step. Augmentations see raw samples, before the
preprocessing: strengths are shares of the batch's range or pixels, never numbers in units that
only some data sets have.
"""
