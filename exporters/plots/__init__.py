"""Pictures of embeddings: chips as a sheet, all of them on a map in colours, and as a cloud of points."""
