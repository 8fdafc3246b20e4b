"""Holds requests against the parameter types and the paths of Stripe's official Python SDK.

Reads one JSON object a line: method, path, query, form. Prints the SDK's operation of each request, and fails with a line for each fault. Nothing is sent.
"""

import ast
import importlib
import json
import pathlib
import re
import sys
import types
import typing
import urllib.parse

import stripe
from stripe._request_options import RequestOptions
from typing_extensions import NotRequired, Required, is_typeddict

PACKAGE = pathlib.Path(stripe.__file__).parent
# Options of the SDK's own, which stand beside the parameters in its types.
OPTIONS = set(RequestOptions.__annotations__)


class Operation:
    """One method of one of the SDK's services."""

    def __init__(self, verb, template, module, params):
        self.verb, self.template, self.module, self.params = verb, template, module, params
        parts = re.split(r"\{[^}]*\}", template)
        self.pattern = re.compile("[^/]+".join(map(re.escape, parts)))
        # Of two that fit, the one with more of its own words: /customers/search before
        # /customers/{customer}.
        self.rank = len("".join(parts))

    def type(self):
        return getattr(importlib.import_module(self.module), self.params)


def operations():
    """Every operation that the SDK has a method for, read from the SDK's source."""
    for path in sorted(PACKAGE.rglob("_*_service.py")):
        tree = ast.parse(path.read_text())
        modules = {
            name.name: node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for name in node.names
        }
        for method in ast.walk(tree):
            if not isinstance(method, ast.FunctionDef):
                continue
            params = [arg for arg in method.args.args if arg.arg == "params" and arg.annotation]
            names = re.findall(r"\w+Params\b", ast.unparse(params[0].annotation)) if params else []
            for call in ast.walk(method):
                is_request = isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "_request"
                if is_request and names:
                    texts = [node.value for node in ast.walk(call) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
                    verb, template = texts[0], next(text for text in texts if text.startswith("/v"))
                    yield Operation(verb, template, modules[names[0]], names[0])


def tree_of(pairs):
    """Nested dictionaries of a form's names: `a[b][0]=c` is {"a": {"b": {"0": "c"}}}."""
    tree = {}
    for name, value in pairs:
        head, rest = re.fullmatch(r"([^\[\]]+)((?:\[[^\[\]]*\])*)", name).groups()
        keys = [head, *re.findall(r"\[([^\[\]]*)\]", rest)]
        place = tree
        for key, following in zip(keys, [*keys[1:], None]):
            # `a[]` is the next one of a list.
            key = key or str(len(place))
            if following is None:
                if key in place:
                    raise ValueError(f"{name} is there twice")
                place[key] = value
            else:
                place = place.setdefault(key, {})
    return tree


def hints(kind):
    """The parameters of a group and their types."""
    # The SDK's own options, which every type inherits, name classes that this module does not
    # import.
    names = {**vars(typing), "StripeContext": str, **vars(sys.modules[kind.__module__])}
    known = typing.get_type_hints(kind, names, names)
    return {name: hint for name, hint in known.items() if name not in OPTIONS}


def faults(value, hint, name):
    """What of a value does not fit its type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (NotRequired, Required):
        return faults(value, args[0], name)
    if origin in (typing.Union, types.UnionType):
        words = [option for option in args if typing.get_origin(option) is typing.Literal and typing.get_args(option) != ("",)]
        # `Literal["a", "b"] | str` leaves room for words of other versions. Only known ones are
        # sent.
        options = [option for option in args if option is not type(None) and not (words and option is str)]
        tries = [faults(value, option, name) for option in options]
        # The fewest faults are those of the type that was meant.
        return min(tries, key=len)
    if origin is typing.Literal:
        return [] if value in args else [f"{name}: {value!r} is none of {sorted(args)[:12]}"]
    if is_typeddict(hint):
        if not isinstance(value, dict):
            return [f"{name}: {value!r} is no group"]
        known, found = hints(hint), []
        for key, inner in value.items():
            full = f"{name}[{key}]" if name else key
            if key in known:
                found += faults(inner, known[key], full)
            else:
                found.append(f"{full}: there is no such parameter")
        missing = (hint.__required_keys__ - OPTIONS) - set(value)
        return found + [f"{name}[{key}]: must be given" if name else f"{key}: must be given" for key in sorted(missing)]
    if origin is list:
        if not isinstance(value, dict) or list(value) != [str(at) for at in range(len(value))]:
            return [f"{name}: {value!r} is no list"]
        return [fault for at, inner in value.items() for fault in faults(inner, args[0], f"{name}[{at}]")]
    if origin is dict or "UntypedStripeObject" in str(hint):
        if not isinstance(value, dict):
            return [f"{name}: {value!r} is no group"]
        return [fault for key, inner in value.items() for fault in faults(inner, args[-1], f"{name}[{key}]")]
    if isinstance(value, dict):
        return [f"{name}: a group, where {hint} belongs"]
    patterns = {bool: "true|false", int: r"-?\d+", float: r"-?\d+(\.\d+)?", str: r"(?s).+"}
    if hint not in patterns:
        raise TypeError(f"{name} has a type that this judge does not know: {hint}")
    return [] if re.fullmatch(patterns[hint], value) else [f"{name}: {value!r} is no {hint.__name__}"]


def judge(request, known):
    """The operation of a request, and its faults."""
    fits = [one for one in known if one.verb == request["method"].lower() and one.pattern.fullmatch(request["path"])]
    if not fits:
        return None, ["the SDK has no such operation"]
    operation = max(fits, key=lambda one: one.rank)
    if request["method"] == "POST" and request["query"]:
        return operation, ["a POST has its parameters in the body"]
    text = request["form"] if request["method"] == "POST" else request["query"]
    try:
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
        return operation, faults(tree_of(pairs), operation.type(), "")
    except ValueError as error:
        return operation, [f"not a form: {error}"]


def main():
    known, failed = list(operations()), 0
    assert len(known) > 300, f"only {len(known)} operations were found in the SDK"
    for line in sys.stdin:
        request = json.loads(line)
        operation, found = judge(request, known)
        name = f"{operation.verb} {operation.template} {operation.params}" if operation else "?"
        print(f"{request['method']} {request['path']}: {name}")
        for fault in found:
            print(f"FAULT {request['method']} {request['path']}: {fault}")
        failed += len(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
