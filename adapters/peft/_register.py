"""Methods that PEFT does not know of, in its registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from peft import PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import register_peft_method

from ...manifolds import described, require_instance
from .._adapter import Adapter
from ._config import ChangeConfig
from ._tuner import ChangeTuner

Config = TypeVar("Config", bound=type)


def register_config(method: str) -> Callable[[Config], Config]:
    """Return a decorator by which PEFT takes a configuration class.

    Args:
        method: the name of the method in lower case, by which files say what they are.

    Raises:
        TypeError: the name is no string, or the class no subclass of :class:`ChangeConfig` with a ``kind``.
        ValueError: PEFT has a method of this name, or it is no name.
    """
    require_instance("method", method, str, "a name in lower case such as 'my_method'")
    if not method.replace("_", "").isalnum() or not method.islower() or method.endswith("_"):
        raise ValueError(f"method must be a name in lower case such as 'my_method', got {described(method)}")

    def register(config: Config) -> Config:
        if not (isinstance(config, type) and issubclass(config, ChangeConfig)):
            raise TypeError(f"register_config takes a class that subclasses ChangeConfig, got {described(config)}")
        kind = getattr(config, "kind", None)
        if not (isinstance(kind, type) and issubclass(kind, Adapter)):
            raise TypeError(f"{config.__name__}.kind must be the class of an adapter, got {described(kind)}")
        member = PeftType.__members__.get(method.upper())
        known = PEFT_TYPE_TO_CONFIG_MAPPING.get(member)
        if known is not None and (known.__module__, known.__qualname__) == (config.__module__, config.__qualname__):
            for mapping in (PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING):
                mapping.pop(member, None)  # a class that was written anew, in a notebook for instance
        elif member is not None:
            raise ValueError(f"PEFT has a method {method!r} already; give another name")
        prefix, name = f"{method}_", f"{config.__qualname__}.Tuner"  # by which pickle finds it
        tuner = type("Tuner", (ChangeTuner,), {"prefix": prefix, "__module__": config.__module__, "__qualname__": name})
        cast(Any, config).method = _extend(method.upper()) if member is None else member
        cast(Any, config).Tuner = tuner
        register_peft_method(name=method, config_cls=config, model_cls=tuner, prefix=prefix)
        return config

    return register


def _extend(name: str) -> PeftType:
    """Add a member to PEFT's enumeration, in place: its modules hold the class, and their register asks it."""
    member = str.__new__(PeftType, name)
    member._name_ = member._value_ = name
    member.__objclass__ = PeftType
    member._sort_order_ = len(PeftType._member_names_)
    type.__setattr__(PeftType, name, member)
    PeftType._member_names_.append(name)
    PeftType._member_map_[name] = member
    PeftType._value2member_map_[name] = member
    return member
