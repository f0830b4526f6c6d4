"""The report page about a corpus: counts, map, charts and chips."""
