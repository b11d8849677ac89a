"""Values as the schemas of several manifests have them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(strict=True, ge=0, lt=2**53)]
"""A whole number that a float holds exactly."""
