"""The parts of `benchmarks.exchange`, one file each: whatever has a function `measure(folder, quick) -> Part`."""
