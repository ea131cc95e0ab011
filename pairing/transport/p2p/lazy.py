"""libp2p's packages without what their `__init__` imports, until somebody asks for it.

`import libp2p` brings QUIC, a DHT, bitswap, metrics and three web clients: two thirds of a second
that every operator and every machine waits for, and none of it is used here (docs/adr/0030). A
package named below is empty at first, so that its modules can be imported one by one. Whoever asks
it for a name of its own gets it: its `__init__` runs then.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import MappingProxyType, ModuleType
from typing import Any

PLACEHOLDERS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "libp2p": (),
        "libp2p.kad_dht": (),
        "libp2p.network": (),
        "libp2p.pubsub": (),
        "libp2p.rcmgr": (),
        "libp2p.relay": (),
        "libp2p.relay.circuit_v2": (),
        "libp2p.security": (),
        "libp2p.tools": (),
        "libp2p.tools.anyio_service": (),
        "libp2p.transport": (),
        "libp2p.transport.quic": (),
        "libp2p.transport.quic.stream": ("QUICStream",),
    }
)
"""What is empty at first, and classes that stand in it for those that only annotations name."""


class _Empty(Loader):
    """Loads a module without running it; `real` runs it once a name is missed."""

    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        def missed(name: str) -> Any:
            # `from package import module` asks the package for a name first.
            if name.startswith("__") or _is_module(module, name):
                raise AttributeError(f"{module.__name__} has no {name}")
            module.__dict__.pop("__getattr__", None)
            self.real.exec_module(module)
            return getattr(module, name)

        for placeholder in PLACEHOLDERS[module.__name__]:
            setattr(module, placeholder, type(placeholder, (), {}))
        module.__dict__["__getattr__"] = missed


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in PLACEHOLDERS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Empty(spec.loader)
        return spec


def _is_module(package: ModuleType, name: str) -> bool:
    if not hasattr(package, "__path__"):
        return False
    return importlib.util.find_spec(f"{package.__name__}.{name}") is not None


def install() -> None:
    """From now on. Without effect on what is imported already."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
