"""A sweep in the layout of lightning-hydra-template: groups of options, Hydra, a Trainer a job."""
