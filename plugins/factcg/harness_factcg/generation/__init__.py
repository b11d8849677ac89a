"""CG2C data made by a writer: graphs, paths, claims, documents rewritten."""
