"""`vmc bench`: speed, as ratios to named baselines in the same run, and to the machine's own floor."""
