"""Test suites on disk: factors, covering arrays, coverage, diversity."""
