"""`mvc demo`: the whole story on a model that is trained on the spot.

``model`` is a small language model with its gradients, ``checkpoint`` writes its state as files, ``training``
is the program that a user would run (it commits through the command line, as any trainer could), ``gitlfs``
stores the same files in a git-lfs repository for comparison, and ``story`` plays all of it in a temporary
folder and verifies what it shows. Only a child process computes: the story itself needs neither numpy nor the
library.
"""
