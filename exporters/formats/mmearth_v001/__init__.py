"""The files of MMEarth v001: what is in them, and how a selection of a corpus becomes such files."""
