"""Ratings without a judge: from the concept's training rows and an unsteered model."""
