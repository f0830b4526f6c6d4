"""The page about a corpus: counts, map, charts, chips."""
