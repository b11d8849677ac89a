"""Chat models that tell what the provider refused."""
