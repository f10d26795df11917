"""What pickles hold: tensors of torch, arrays of numpy, plain values, and the names that they go by.

Shared by every format with a pickle in it. The encoding itself is :mod:`mvc.formats.wire.pickles`.
"""
