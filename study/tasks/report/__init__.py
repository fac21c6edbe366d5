"""What a study of trainings shows: findings, tables and figures, made from plain data alone."""

from .content import content_of

__all__ = ["content_of"]
