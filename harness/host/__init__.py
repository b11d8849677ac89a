"""Discovery of plugins and how they join lm-eval."""
