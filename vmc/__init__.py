"""vmc: Ha & Schmidhuber's World Models (2018), from rollouts to a score."""
