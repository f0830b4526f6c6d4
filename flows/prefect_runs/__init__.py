"""Stages as Prefect flow runs; the only room that imports Prefect."""
