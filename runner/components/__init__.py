"""The leaves: one module, or one folder, for each group in `conf/`.

Positional parameters are run-time data, keyword-only parameters are configuration. Letters in
shapes: N samples in a data set, B samples in a batch, C classes or output columns, D features.
"""
