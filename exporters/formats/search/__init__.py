"""What a search over embeddings keeps and writes: its matrix beside a store, and a table of what it found."""
