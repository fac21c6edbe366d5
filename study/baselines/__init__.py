"""What the paper compares with: plain weights whose spectra are normalized, or kept from collapsing."""

from .spectral_normalization import spectral_normalization
from .spectral_regularization import SpectralRegularization, spectral_regularization

__all__ = ["SpectralRegularization", "spectral_normalization", "spectral_regularization"]
