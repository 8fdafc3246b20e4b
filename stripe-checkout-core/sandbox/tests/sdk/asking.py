"""Plain HTTP to a sandbox: the parameters go out as they are written, without any SDK."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request

URL = os.environ["SANDBOX_URL"]
KEY = os.environ["SANDBOX_SECRET_KEY"]


def ask(method, path, params=None, headers=None):
    """The status and the body of the answer."""
    encoded = urllib.parse.urlencode(params or {}, safe="[]{}:/")
    url, body = f"{URL}{path}", None
    if method == "POST":
        body = encoded.encode()
    elif encoded:
        url = f"{url}?{encoded}"
    request = urllib.request.Request(url, body, {"Authorization": f"Bearer {KEY}", **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def made(method, path, **params):
    """The answer to a request that must succeed."""
    status, body = ask(method, path, params)
    assert status == 200, (method, path, params, body)
    return body
