"""What `geocorpus doctor` looks at: one file per subject, with functions that each return one finding."""
