"""From a checked configuration to a run: the only package that knows all groups."""
