"""The object database: packs of records, the index that finds them, and how records are made and read."""
