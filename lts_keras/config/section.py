"""What every section of the configuration is."""

from typing import Annotated

import pydantic
from pydantic import Field

__all__ = ["Section", "Share"]

Share = Annotated[float, Field(ge=0, le=1)]


class Section(pydantic.BaseModel):
    """Frozen, and strict: an unknown key is an error."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", validate_default=True)
