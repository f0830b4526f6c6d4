"""Ways out of a corpus and into one, one file per format; found by the `Format` or `Importer` that a file defines."""
