"""The simulation of one machine, its topic and one group: processes on virtual time, faults from a seed, rules on what was told."""
