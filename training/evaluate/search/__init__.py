"""Search among embeddings: the nearest, those like a few examples, and what all of them look like in a plane."""
