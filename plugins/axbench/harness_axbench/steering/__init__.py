"""One request's steering: plan, interventions, positions, editors of a loaded model."""
