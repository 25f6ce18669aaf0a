"""Simulated generators: one file each, which leaves the trace that one family of real generators leaves."""
