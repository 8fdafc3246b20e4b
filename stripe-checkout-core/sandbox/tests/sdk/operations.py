"""Every operation and every parameter that the official Python SDK has, read from its types."""

import importlib
import inspect
import pkgutil
import re
import sys
import types
import typing

import stripe
from stripe._request_options import RequestOptions


def hints(cls):
    # The SDK imports some names for type checkers only.
    names = dict(vars(sys.modules[cls.__module__]))
    names.update(StripeContext=str, Mapping=typing.Mapping, Any=typing.Any)
    return typing.get_type_hints(cls, names, names)


HEADERS = list(hints(RequestOptions))


def operations():
    """(method, path) of each operation, and the type of its parameters if it has any."""
    found = {}
    for module in pkgutil.walk_packages(stripe.__path__, "stripe."):
        if not module.name.endswith("_service"):
            continue
        module = importlib.import_module(module.name)
        for name, cls in vars(module).items():
            if not inspect.isclass(cls) or cls.__module__ != module.__name__ or not name.endswith("Service"):
                continue
            for function in vars(cls).values():
                if not inspect.isfunction(function):
                    continue
                source = inspect.getsource(function)
                request = re.search(r'self\._request(?:_async)?\(\s*"(\w+)",\s*"([^"]+)"', source)
                if not request:
                    continue
                found[(request[1].upper(), request[2])] = parameters_of(function, module)
    return found


def parameters_of(function, module):
    annotation = str(inspect.signature(function).parameters.get("params"))
    name = re.search(r"\b([A-Z]\w+Params)\b", annotation)
    if not name:
        return None
    # The service imports the name for type checkers only.
    for origin, names in re.findall(r"from (stripe\.params[\w.]*) import (\([^)]*\)|.*)", inspect.getsource(module)):
        if re.search(rf"\b{name[1]}\b", names):
            return getattr(importlib.import_module(origin), name[1])
    raise AssertionError(f"no type {name[1]}")


def walk(hint, name="", inside=()):
    """The full name of each parameter, and its hint. A list shows its first item."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        for one in typing.get_args(hint):
            if one is not type(None):
                yield from walk(one, name, inside)
    elif origin is list:
        for full, one in walk(typing.get_args(hint)[0], f"{name}[0]", inside):
            yield full, one
    elif origin is dict or "UntypedStripeObject" in str(hint):
        inner = typing.get_args(hint)[-1]
        yield from walk(inner, f"{name}[key]", inside)
    elif hasattr(hint, "__total__"):
        if hint in inside:
            return
        for field, one in hints(hint).items():
            if name or field not in HEADERS:
                yield from walk(one, f"{name}[{field}]" if name else field, (*inside, hint))
    elif origin is typing.Literal and typing.get_args(hint) == ("",):
        # The empty text that unsets a parameter: no parameter of its own.
        return
    else:
        yield name, hint


def parameters(cls):
    """Each parameter with the words that its type lists."""
    found = {}
    for name, hint in walk(cls) if cls else ():
        words = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
        found.setdefault(name, set()).update(word for word in words if word != "")
    return found
