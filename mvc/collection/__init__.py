"""Collects garbage, by the protocol of intents, fossils and epoch (docs/format.md).

Everything goes in small steps, each one swap of root after which the repository is whole:

1. operations that are too old leave the log (:mod:`mvc.collection.log`);
2. the index forgets all that nothing reaches, at once, so that who finds an object in it finds all that
   the object refers to; packs that hold nothing else are condemned (:mod:`mvc.collection.index`);
3. if that is asked for, objects are stored anew, and their old records go (:mod:`mvc.collection.repacking`);
4. packs with much garbage, and small ones, are copied into new ones, a few at a time
   (:mod:`mvc.collection.rewriting`);
5. the index becomes one run again, and what is condemned is deleted as soon as nobody can be reading it
   (:mod:`mvc.collection.leftovers`).

Killed anywhere, it leaves an older state or a newer one, and files that nobody names: those the next
collection removes.
"""
