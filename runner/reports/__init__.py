"""Tables, figures and mean curves, made from the files of runs and sweeps; without torch."""
