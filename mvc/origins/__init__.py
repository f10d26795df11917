"""What other tools keep versions in, as their own files have it: read, and nothing else."""
