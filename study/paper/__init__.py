"""The paper's experiments as studies, and the numbers that it prints."""

from .experiments import EXPERIMENTS, Experiment, paper_study, published_z

__all__ = ["EXPERIMENTS", "Experiment", "paper_study", "published_z"]
