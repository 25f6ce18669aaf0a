"""One registry shape for every kind of part: detectors, face detectors, losses, projections and so on.

A part is one decorated function or class in its own small file:

    @PROJECTIONS.register("pca")
    def project_pca(features, *, seed): ...

The registry imports the files of its package when it is first asked, so that no second list exists.
"""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

from faceauth.errors import UnknownNameError, did_you_mean

Part = TypeVar("Part")


class Registry(Generic[Part]):
    """Named parts of one kind.

    Args:
        kind: What a part is called in messages, such as "detector".
        package: Dotted name of the package, or the module, in which parts register themselves.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._parts: dict[str, Part] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[Part], Part]:
        """Returns a decorator that files a part under a name.

        Raises:
            ValueError: The name is taken; two parts of one name would hide each other.
        """

        def file_under_name(part: Part) -> Part:
            if name in self._parts:
                raise ValueError(f"two parts of kind '{self.kind}' are called '{name}'")
            self._parts[name] = part
            return part

        return file_under_name

    def get(self, name: str) -> Part:
        """Returns the part of that name.

        Raises:
            UnknownNameError: No part has that name; the message names the closest one.
        """
        self._discover()
        if name not in self._parts:
            raise UnknownNameError(
                f"There is no {self.kind} called '{name}'.", did_you_mean(name, self.names())
            )
        return self._parts[name]

    def names(self) -> list[str]:
        """Returns all names in alphabetical order."""
        self._discover()
        return sorted(self._parts)

    def _discover(self) -> None:
        if self._discovered:
            return
        module = importlib.import_module(self.package)
        for found in pkgutil.iter_modules(getattr(module, "__path__", [])):
            importlib.import_module(f"{self.package}.{found.name}")
        self._discovered = True
