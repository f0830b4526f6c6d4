"""Labelled images of the field: GEO-Bench, EuroSAT, folders of classes, and tables of paths and labels."""
