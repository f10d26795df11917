"""Scripts that print the figures that this project claims, as ratios against a peer or a baseline in the
same run."""
