"""`geocorpus fewshot`: how many labels encoders need, side by side, as tables, plots and a page."""
