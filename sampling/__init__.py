"""Which places on Earth: pure functions of (regions, n, seed)."""
