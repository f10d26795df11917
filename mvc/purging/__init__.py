"""Takes versions, files and tensors out of a repository for good (docs/design/0024-purge.md).

1. :mod:`mvc.purging.aims` finds what words name, :mod:`mvc.purging.survey` the objects that nothing else
   needs;
2. with a rewritten history :mod:`mvc.purging.history` makes the versions anew;
3. :mod:`mvc.purging.dependants` stores anew what leans on the objects that go, and
   :mod:`mvc.purging.publish` swaps root once: index without them, tombstones, refs and log together;
4. :mod:`mvc.purging.ending` deletes what is left of them, as often as it is asked to, and
   :mod:`mvc.purging.proof` looks for them in every byte of the store.

Before the swap nothing has happened; after it the ids never come back, and what is left to delete can be told
from the tombstones alone: a purge that was killed is ended by the next one.
"""
