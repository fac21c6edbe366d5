"""Methods that PEFT does not know of, in its registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from peft import PeftType
from peft.utils import register_peft_method

from ...manifolds import described
from ._config import ChangeConfig
from ._tuner import ChangeTuner

Config = TypeVar("Config", bound=type[ChangeConfig])


def register_config(method: str) -> Callable[[Config], Config]:
    """Return a decorator by which PEFT takes a configuration class.

    Args:
        method: the name of the method in lower case, by which files say what they are.

    Raises:
        TypeError: the class is no subclass of :class:`ChangeConfig`.
        ValueError: PEFT has a method of this name.
    """
    if not isinstance(method, str) or not method.replace("_", "").isalnum() or not method.islower():
        raise ValueError(f"method must be a name in lower case such as 'my_method', got {described(method)}")

    def register(config: Config) -> Config:
        if not (isinstance(config, type) and issubclass(config, ChangeConfig)):
            raise TypeError(f"register_config takes a class that subclasses ChangeConfig, got {described(config)}")
        if method.upper() in PeftType.__members__:
            raise ValueError(f"PEFT has a method {method!r} already; give another name")
        config.method = _extend(method.upper())
        prefix = f"{method}_"
        tuner = type(f"{config.__name__}Tuner", (ChangeTuner,), {"prefix": prefix, "__module__": config.__module__})
        register_peft_method(name=method, config_cls=config, model_cls=tuner, prefix=prefix)
        return config

    return register


def _extend(name: str) -> PeftType:
    """Add a member to PEFT's enumeration, in place: its modules hold the class, and their register asks it."""
    member = str.__new__(PeftType, name)
    member._name_ = member._value_ = name
    member._sort_order_ = len(PeftType._member_names_)
    type.__setattr__(PeftType, name, member)
    PeftType._member_names_.append(name)
    PeftType._member_map_[name] = member
    PeftType._value2member_map_[name] = member
    return member
