"""Value types and file handling that every layer shares (numpy, pydantic and PyYAML only)."""
