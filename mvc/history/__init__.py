"""What versions are to each other: the graph of commits, their names, and what differs between two.

Reads plain objects through :class:`mvc.history.reader.ObjectReader` and refs through
:class:`mvc.history.names.Refs`; knows no repository.
"""
