"""What happened between two versions, in words: from the bits of their tensors, not from what people say."""
