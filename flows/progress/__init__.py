"""Progress: bars and lines on standard error, and the progress file for other processes."""
