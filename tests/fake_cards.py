"""A device ``card:0`` on any machine: its tensors compute on the CPU and refuse to mix with those of the CPU.

An operation whose tensors lie on the card and the CPU fails as it does on a CUDA device: only copies cross, and scalars
of the CPU go anywhere. The device is registered for the whole process, so whatever uses it runs in one of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_flatten, tree_map

KIND = "card"
NAME = "card:0"
"""The only one: autograd gives a device that is registered from Python one queue."""

COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}

refused_types: set[torch.dtype] = set()
"""Types that the card does not have; making such a tensor there is a TypeError, as of float64 on mps."""

_libraries: list[torch.library.Library] = []
"""Kept alive, since what a library registers goes with it."""


class Card(Tensor):
    """A tensor on the card; ``raw`` holds its values on the CPU."""

    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor) -> Card:
        """A tensor of the same size, layout and type as ``raw``."""
        if raw.dtype in refused_types:
            raise TypeError(f"the card has no {raw.dtype}")
        card = Tensor._make_wrapper_subclass(
            cls, raw.shape, strides=raw.stride(), dtype=raw.dtype, layout=raw.layout, device=torch.device(NAME)
        )
        card.raw = raw
        return card

    def tolist(self) -> Any:
        """Torch's own refuses subclasses."""
        return self.raw.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute on the CPU; the result is a card's unless the call asks for another device."""
        kwargs = kwargs or {}
        tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        if func not in COPIES:
            _refuse_mixture(func, tensors)
        if func is torch.ops.aten.copy_.default:
            func(*tree_map(_raw, args), **kwargs)
            return args[0]
        place = kwargs.get("device")
        stays = place is None or torch.device(place).type == KIND
        owners = {id(value.raw): value for value in tensors if isinstance(value, Card)}
        if place is not None:
            kwargs = {**kwargs, "device": "cpu"}
        found = func(*tree_map(_raw, args), **tree_map(_raw, kwargs))
        if found is not None and not stays and any(found is value.raw for value in owners.values()):
            return found.clone()

        def on_the_card(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return owners.get(id(value)) if id(value) in owners else Card(value)

        return tree_map(on_the_card, found) if stays else found


def _refuse_mixture(func: Any, tensors: list[Tensor]) -> None:
    if any(isinstance(value, Card) for value in tensors) and any(
        not isinstance(value, Card) and value.ndim for value in tensors
    ):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found at least two devices")


def _raw(value: Any) -> Any:
    return value.raw if isinstance(value, Card) else value


class _Module(backend_registration._DummyBackendModule):
    """What torch asks of a kind of device; seeds are the CPU's."""


def register() -> None:
    """Make ``torch.device("card:0")`` known to this process, for good."""
    backend_registration._setup_privateuseone_for_python_backend(KIND, _Module())
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty.memory_format", _empty, "PrivateUse1")
    library.impl("empty_strided", _empty_strided, "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    _libraries.append(library)


def _empty(size: Any, *, dtype: Any = None, memory_format: Any = None, **_options: Any) -> Tensor:
    return Card(torch.empty(size, dtype=dtype))


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_options: Any) -> Tensor:
    return Card(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _raw(target).copy_(_raw(source))
    return target
