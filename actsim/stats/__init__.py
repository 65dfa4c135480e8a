"""Rank correlations, partial correlations and bootstrap intervals; numpy and scipy only."""
