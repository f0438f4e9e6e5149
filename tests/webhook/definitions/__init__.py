"""Tests of what is defined: sets checked together, and the view of each replica."""
