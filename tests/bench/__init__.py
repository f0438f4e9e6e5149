"""Benchmarks. Each figure is divided by a ceiling measured in the same run: ratios vary less between machines."""
