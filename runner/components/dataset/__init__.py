"""Data sets: a factory gives `Data`; input shape and number of classes come from it."""
