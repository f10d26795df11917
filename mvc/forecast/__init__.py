"""What a folder of checkpoints is and what storing it would cost, from all headers and small samples of the
tensors; needs no repository and writes nothing."""
