"""The ground that every other package stands on: errors, files, ranges, durations, randomness."""
