"""Adapters inside Hugging Face's PEFT: with this imported, ``peft.get_peft_model`` takes these configurations."""

try:
    import peft as _peft
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"sttp.adapters.peft needs the extra `peft`: pip install 'sttp-torch[peft]' ({error})", name=error.name
    ) from error

from peft.tuners.tuners_utils import BaseTuner as _BaseTuner

if not hasattr(_BaseTuner, "_remap_adapter_state_dict_for_load"):
    raise ImportError(f"sttp.adapters.peft needs peft 0.21 or newer, found {_peft.__version__}; upgrade it")

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
