"""Adapters inside Hugging Face's PEFT: with this imported, ``peft.get_peft_model`` takes these configurations."""

try:
    import peft as _peft  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"sttp.adapters.peft needs the extra `peft`: pip install 'sttp-torch[peft]' ({error})", name=error.name
    ) from error

from ._config import ChangeConfig
from ._configs import LoRTAConfig, SODAConfig, SpectralAdapterConfig, StellaConfig, STTPConfig, SVDPConfig
from ._layer import ChangedLayer
from ._lora_errors import lora_errors
from ._register import register_config
from ._tuner import ChangeTuner

__all__ = [
    "ChangeConfig",
    "ChangeTuner",
    "ChangedLayer",
    "LoRTAConfig",
    "SODAConfig",
    "STTPConfig",
    "SVDPConfig",
    "SpectralAdapterConfig",
    "StellaConfig",
    "lora_errors",
    "register_config",
]
