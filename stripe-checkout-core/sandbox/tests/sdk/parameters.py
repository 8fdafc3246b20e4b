"""Each operation and each parameter of the official Python SDK: the sandbox has it, or it refuses it with a sentence that names the sandbox.

`implemented.py` lists what the sandbox has. Both directions are checked, so that the list cannot rot."""

import pathlib
import re

from asking import ask
from implemented import HEADERS_SHOWN, IMPLEMENTED, Only, Same, Test, Unfit, base
from operations import HEADERS, operations, parameters

TESTS = [path.read_text() for path in pathlib.Path(__file__).parent.parent.rglob("*.rs")]
checks = 0
flaws = []


def check(condition, *what):
    global checks
    checks += 1
    if not condition:
        flaws.append(" ".join(str(part) for part in what))


def body_of(test):
    """The text of a test in Rust, with the constants of its file."""
    for file in TESTS:
        found = re.search(rf"fn {test}\(.*?(?=#\[tokio::test\]|\Z)", file, re.DOTALL)
        if found:
            return "\n".join([found[0], *re.findall(r"^const .*?;$", file, re.DOTALL | re.MULTILINE)])
    return None


def names_the_sandbox(body):
    return "sandbox" in body["error"]["message"]


def is_missing_route(status, body):
    return status == 404 and body["error"]["message"].startswith("Unrecognized request URL")


def flat(value, name=""):
    """The pairs of a form."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{name}[{key}]" if name else key)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from flat(inner, f"{name}[{place}]")
    else:
        yield name, value


def shown(answer, name):
    """The value in the answer in the place of a parameter's full name."""
    for part in re.findall(r"[^\[\]]+", name):
        if isinstance(answer, list):
            answer = answer[int(part)] if int(part) < len(answer) else None
        elif isinstance(answer, dict):
            answer = answer.get(part)
        else:
            return None
    return answer


def same(found, given):
    return found == given or (not isinstance(found, (dict, list)) and str(found).lower() == str(given).lower())


def send(operation, given):
    """The operation with what it needs, and with this besides."""
    method, _ = operation
    path, needed = base(operation, given)
    sent = {**dict(flat(needed)), **given}
    status, body = ask(method, path, {name: value for name, value in sent.items() if value is not None})
    return status, body, sent


def check_parameter(operation, name, words, how):
    method, path = operation
    what = f"{method} {path} {name}"
    if isinstance(how, Test):
        word = re.findall(r"\w+", name)[-1]
        text = body_of(how.name)
        check(text and (word in text or name == "expand[0]"), what, "is not shown by the test", how.name)
        if how.value is None:
            # Only the named test can send it.
            return
    if name == "expand[0]":
        status, body, _ = send(operation, {name: "nothing"})
        check(status == 400 and "cannot be expanded" in body["error"]["message"], what, status, body)
        return
    if how is None:
        status, body, _ = send(operation, {name: "x"})
        error = body.get("error", {})
        check(
            status == 400
            and error.get("code") == "parameter_unknown"
            and error.get("param") == name
            and name in error["message"]
            and names_the_sandbox(body),
            what, "is neither listed nor refused:", status, error.get("message", "taken"),
        )
        return
    if isinstance(how, Unfit):
        status, body, _ = send(operation, {name: how.value})
        check(status == 400 and names_the_sandbox(body), what, status, body)
        return
    if isinstance(how, Only):
        status, body, _ = send(operation, {name: how.refused})
        check(status == 400 and names_the_sandbox(body) and error_param(body) == name, what, how.refused, status, body)
    value = how.value
    status, body, sent = send(operation, {name: value})
    check(status == 200, what, value, status, body)
    if isinstance(how, Same) and status == 200:
        found = shown(body, how.place or name)
        check(same(found, how.shown if how.shown is not None else value), what, "shows", found)
    if words:
        # A word that is none of Stripe's.
        status, body, _ = send(operation, {name: "nonsense"})
        check(status == 400, what, "takes a word that Stripe does not know:", status)
    for word in sorted(words, key=str):
        status, body, sent = send(operation, {name: word})
        if status == 400:
            check(names_the_sandbox(body) or word in how.unfit, what, word, body["error"]["message"])
            continue
        check(status == 200, what, word, status, body)
        if isinstance(how, Same) and how.shown is None:
            check(same(shown(body, how.place or name), word), what, word, "shows", shown(body, how.place or name))


def error_param(body):
    return body["error"].get("param")


def run():
    every = operations()
    check(set(HEADERS) == set(HEADERS_SHOWN), "headers", set(HEADERS) ^ set(HEADERS_SHOWN))
    for header, how in HEADERS_SHOWN.items():
        if isinstance(how, Test):
            check(body_of(how.name), header, how.name)
    status, body = ask("GET", "/v1/payment_intents", headers={"Stripe-Context": "acct_1"})
    check(status == 400 and names_the_sandbox(body), "Stripe-Context", status, body)
    check(set(IMPLEMENTED) <= set(every), "no operation of the SDK:", set(IMPLEMENTED) - set(every))
    known = 0
    for operation, cls in sorted(every.items()):
        method, path = operation
        if operation not in IMPLEMENTED:
            status, body = ask(method, re.sub(r"\{\w+\}", "xx_1", path))
            check(is_missing_route(status, body) and names_the_sandbox(body), operation, "is not listed:", status, body)
            continue
        # Another method of the same address is another operation, or none.
        for other in {"GET", "POST", "DELETE", "PUT", "PATCH"} - {method}:
            if (other, path) not in every:
                status, body = ask(other, re.sub(r"\{\w+\}", "xx_1", path))
                fits = [key for key in every if key[0] == other and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", key[1]), path)]
                check(fits or (is_missing_route(status, body) and names_the_sandbox(body)), other, path, status, body)
        listed = dict(IMPLEMENTED[operation])
        for name, words in parameters(cls).items():
            known += 1
            check_parameter(operation, name, words, listed.pop(name, None))
        # The SDK's types do not have these; Stripe takes them all the same.
        for name, how in listed.items():
            check(how.beyond, operation, name, "is not a parameter of the SDK")
            check_parameter(operation, name, (), how)
    print(f"{len(every)} operations, {len(IMPLEMENTED)} of them implemented with {known} parameters: {checks} checks")


run()
assert not flaws, "\n".join([f"{len(flaws)} flaws:", *flaws])
