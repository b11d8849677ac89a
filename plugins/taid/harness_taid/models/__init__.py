"""The wrapper of a distilled student, and what is measured on it beside its teacher."""
