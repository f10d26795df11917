"""Merges, picks and reverts from beginning to end: made, stopped at conflicts, concluded, taken back."""
