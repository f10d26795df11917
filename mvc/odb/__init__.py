"""The object database: records, packs, index segments, and how plain bytes are coded into them."""
