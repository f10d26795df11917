"""Verbs: one file each; they print nothing and read neither environment nor current folder."""
