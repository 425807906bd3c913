"""What cost the most, and what to do about it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from compilespan.findings import finding
from compilespan_service.schemas import examples


class CompileRef(BaseModel):
    """A compile that a finding is about."""

    pid: int
    compile_id: Annotated[str, Field(description="Dynamo's id, as in tlparse.")]


class Finding(BaseModel):
    """Something that cost time, and what to do about it."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.FINDING]})

    code: Annotated[str, Field(description="Stable; `compilespan explain CODE` explains it.")]
    what: str
    seconds: Annotated[float, Field(description="Seconds lost; 0 if they cannot be measured.")]
    count: int
    name: str | None
    file: Annotated[str | None, Field(description="File of the user's line.")]
    line: int
    evidence: Annotated[str, Field(description="torch's message, or figures.")]
    fix: str
    link: str
    is_serious: Annotated[bool, Field(description="Something failed, or runs eager.")]
    compiles: Annotated[list[CompileRef], Field(description="At most 16 of its compiles.")]

    @classmethod
    def of(cls, found: finding.Finding) -> Finding:
        """Convert a finding of the library."""
        return cls.model_validate(found, from_attributes=True)
