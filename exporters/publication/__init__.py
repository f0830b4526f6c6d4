"""A corpus as a data set for others: a copy that opens and verifies, with records that catalogues read."""
