"""A corpus made of chips of others: a selection of one, or a merger of several."""
