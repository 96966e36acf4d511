"""The runner's own sweeper and launcher, `hydra/sweeper=runner` and `hydra/launcher=runner`.

Every Hydra program that knows this folder imports it: nothing here loads the runner until a sweep
begins.
"""
