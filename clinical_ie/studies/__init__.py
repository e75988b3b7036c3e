"""Studies: a grid of runs, what each depends on, and how they are run."""
