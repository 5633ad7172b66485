"""The sample lab: a seeded device lab that reads like a true one."""

from usagekit.engine.sample.lab import build_sample

__all__ = ["build_sample"]
