"""Take versions, files and tensors out of the repository for good."""
