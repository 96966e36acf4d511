"""The tuned script by hand as a program: a module of its own, so that workers import the other."""

from benchmarks.sweeps.by_hand import main

if __name__ == "__main__":
    main()
