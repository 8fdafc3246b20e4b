"""Posts an event that the official Python SDK signed, and then everything that differs from it by one bit."""

import http.client
import json
import os
import time
from urllib.parse import urlsplit

import stripe

URL = urlsplit(os.environ["WEBHOOK_URL"])
SECRET = os.environ["WEBHOOK_SECRET"]
ORDER = os.environ["ORDER"]
connection = http.client.HTTPConnection(URL.hostname, URL.port)


def post(body, header):
    connection.request("POST", URL.path, body, {"Content-Type": "application/json", "Stripe-Signature": header})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def carried(header):
    """Whether HTTP can carry it: visible ASCII and spaces, and none at the ends, where they mean nothing."""
    return all(0x20 <= byte < 0x7F for byte in header) and header == header.strip()


def flips(data):
    """Every change of one bit."""
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            yield bytes(changed)


def expect(status, body, header, what):
    found = post(body, header)
    assert found == status, f"{what}: {found} instead of {status}"


intent = {
    "id": f"pi_{ORDER}",
    "object": "payment_intent",
    "amount": 1999,
    "amount_received": 1999,
    "currency": "eur",
    "status": "succeeded",
    "metadata": {"order_id": ORDER},
}
event = {
    "id": f"evt_{ORDER}",
    "object": "event",
    "type": "payment_intent.succeeded",
    "created": int(time.time()),
    "livemode": False,
    "data": {"object": intent},
}
text = json.dumps(event)
body = text.encode()
header = stripe.WebhookSignature.generate_signature_header(text, SECRET)
stripe.Webhook.construct_event(text, header, SECRET)

# The changed deliveries come first: if the shop accepted one of them, it would ship the order too
# early.
bodies = 0
for changed in flips(body):
    expect(400, changed, header, f"the body {changed}")
    bodies += 1
headers = 0
for changed in filter(carried, flips(header.encode())):
    expect(400, body, changed, f"the header {changed}")
    headers += 1
for cut in (body[:-1], body + b" ", body + b"\n", b"", b" " + body):
    expect(400, cut, header, f"the body {cut}")
expect(400, body, header.replace("v1=", "v0="), "only another scheme")
expect(400, body, stripe.WebhookSignature.generate_signature_header(text, SECRET + "x"), "another secret")
expect(400, body, stripe.WebhookSignature.generate_signature_header(text, SECRET, int(time.time()) - 400), "too old")

expect(200, body, header, "what the SDK signed")
expect(200, body, header, "the same again")
again = stripe.WebhookSignature.generate_signature_header(text, SECRET, int(time.time()) - 200)
expect(200, body, again, "signed anew for another attempt")

print(f"Python SDK {stripe.VERSION}: taken; {bodies} changed bodies and {headers} changed headers refused")
