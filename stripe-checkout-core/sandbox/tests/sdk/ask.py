"""The official Python SDK against a sandbox: what it does with what the sandbox answers, how it types the sandbox's errors, and whether it verifies the sandbox's
webhooks."""

import os
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import stripe

URL = os.environ["SANDBOX_URL"]
KEY = os.environ["SANDBOX_SECRET_KEY"]
BACK = "https://shop.example/complete"
checks = 0


def client(key=KEY):
    # No retries of its own: each answer is to be seen.
    return stripe.StripeClient(key, base_addresses={"api": URL}, max_network_retries=0)


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        raise AssertionError(what)


def refused(kind, call, **expected):
    """The call must fail with this class of error, and the error must say this."""
    try:
        call()
    except stripe.StripeError as error:
        check(type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}")
        for name, value in expected.items():
            found = getattr(error, name, None)
            if name in ("decline_code", "payment_intent", "type"):
                found = getattr(error.error, name)
            check(found == value, f"{name} is {found!r}, not {value!r}")
        return error
    raise AssertionError(f"no {kind.__name__}")


def until(ask, done):
    """Asks again until the answer is as it will be."""
    while not done(answer := ask()):
        time.sleep(0.005)
    return answer


intents = client().v1.payment_intents


def create(options=None, **params):
    return intents.create({"amount": 1999, "currency": "eur", **params}, options or {})


# Made, read, changed.
intent = create(metadata={"order_id": "7", "odd key &=": "ü ✓"}, receipt_email="a@example.com", description="Two books")
check(intent.id.startswith("pi_") and intent.object == "payment_intent", "id and object")
check(intent.status == "requires_payment_method", intent.status)
check(intent.metadata["order_id"] == "7" and intent.metadata["odd key &="] == "ü ✓", "metadata")
check(intent.automatic_payment_methods.enabled, "automatic payment methods")
check(intent.client_secret.startswith(intent.id + "_secret_"), "client secret")
check(intent.last_response.headers["Request-Id"].startswith("req_"), "request id")
again = intents.retrieve(intent.id)
check(again.to_dict() == intent.to_dict(), "the same when read")
changed = intents.update(intent.id, {"amount": 2500, "metadata": {"order_id": "8", "odd key &=": ""}})
check(changed.amount == 2500 and dict(changed.metadata.to_dict()) == {"order_id": "8"}, "update")

# Confirmed.
paid = intents.confirm(intent.id, {"payment_method": "pm_card_visa", "return_url": BACK})
check(paid.status == "succeeded" and paid.amount_received == 2500, paid.status)
# With `automatic_async`, Stripe's default, the balance transaction comes a little later.
charge = until(
    lambda: client().v1.charges.retrieve(paid.latest_charge, {"expand": ["balance_transaction", "refunds"]}),
    lambda found: found.balance_transaction,
)
check(charge.refunds.data == [], "refunds, which are there only when asked for")
check(charge.paid and charge.captured and charge.amount == 2500, "charge")
check(charge.payment_method_details.card.last4 == "4242", "card")
check(charge.balance_transaction.net == 2500 - charge.balance_transaction.fee, "balance transaction")
expanded = intents.retrieve(paid.id, {"expand": ["latest_charge", "payment_method"]})
check(expanded.latest_charge.id == charge.id and expanded.payment_method.card.brand == "visa", "expand")
one_step = create(confirm=True, payment_method="pm_card_mastercard", return_url=BACK)
check(one_step.status == "succeeded", "create and confirm")

# Declined.
for method, code, decline_code in [
    ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
    ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
    ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
    ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
    ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
    ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
]:
    declined = create()
    error = refused(
        stripe.CardError,
        lambda: intents.confirm(declined.id, {"payment_method": method, "return_url": BACK}),
        http_status=402,
        code=code,
        decline_code=decline_code,
    )
    check(error.error.payment_intent.id == declined.id, "the error carries the intent")
    check(error.error.payment_method.type == "card" and error.error.charge.startswith("ch_"), "and the card")
    after = intents.retrieve(declined.id)
    check(after.status == "requires_payment_method" and after.last_payment_error.code == code, after.status)
    second = intents.confirm(declined.id, {"payment_method": "pm_card_visa", "return_url": BACK})
    check(second.status == "succeeded" and second.last_payment_error is None, "a second card")

# 3-D Secure.
secure = create(confirm=True, payment_method="pm_card_threeDSecure2Required", return_url=BACK)
check(secure.status == "requires_action" and secure.next_action.type == "redirect_to_url", secure.status)
check(secure.next_action.redirect_to_url.return_url == BACK, "return_url")

# Canceled, captured, refunded.
canceled = intents.cancel(create().id, {"cancellation_reason": "abandoned"})
check(canceled.status == "canceled" and canceled.cancellation_reason == "abandoned", canceled.status)
held = create(capture_method="manual", confirm=True, payment_method="pm_card_visa", return_url=BACK)
check(held.status == "requires_capture" and held.amount_capturable == 1999, held.status)
captured = intents.capture(held.id, {"amount_to_capture": 1000})
check(captured.status == "succeeded" and captured.amount_received == 1000, captured.status)
refund = client().v1.refunds.create({"payment_intent": paid.id, "amount": 500})
check(refund.status == "succeeded" and refund.amount == 500 and refund.charge == charge.id, "refund")
rest = client().v1.refunds.create({"payment_intent": paid.id})
check(rest.amount == 2000, "the rest")
refused(
    stripe.InvalidRequestError,
    lambda: client().v1.refunds.create({"payment_intent": paid.id}),
    code="charge_already_refunded",
)



# A debit of a bank account: days in life.
AGREED = {"customer_acceptance": {"type": "online", "online": {"ip_address": "203.0.113.7", "user_agent": "Firefox"}}}
v1 = client().v1
refused(stripe.InvalidRequestError, lambda: create(confirm=True, payment_method="pm_sepaDebit_success_de", return_url=BACK), http_status=400)
for method, end in [("pm_sepaDebit_success_de", "succeeded"), ("pm_sepaDebit_failed_de", "requires_payment_method")]:
    debit = create(confirm=True, payment_method=method, return_url=BACK, mandate_data=AGREED)
    check(debit.status == "processing", debit.status)
    debited = until(lambda: intents.retrieve(debit.id, {"expand": ["latest_charge"]}), lambda found: found.status != "processing")
    check(debited.status == end, debited.status)
    details = debited.latest_charge.payment_method_details
    check(details.type == "sepa_debit" and details.sepa_debit.country == "DE", "bank account")
    check(v1.mandates.retrieve(details.sepa_debit.mandate).status == "active", "mandate")

# Refunds that take their time, or come back.
slow = create(confirm=True, payment_method="pm_card_pendingRefund", return_url=BACK)
pending = v1.refunds.create({"payment_intent": slow.id, "amount": 500})
check(pending.status == "pending", pending.status)
check(until(lambda: v1.refunds.retrieve(pending.id), lambda found: found.status != "pending").status == "succeeded", "it arrives")
refused(stripe.InvalidRequestError, lambda: v1.refunds.cancel(pending.id), http_status=400)
stubborn = create(confirm=True, payment_method="pm_card_refundFail", return_url=BACK)
back = v1.refunds.create({"payment_intent": stubborn.id})
failed = until(lambda: v1.refunds.retrieve(back.id), lambda found: found.status != "succeeded")
check(failed.status == "failed" and failed.failure_reason == "unknown", failed.status)
bookings = v1.balance_transactions.list({"source": back.id}).data
check([booking.amount for booking in bookings] == [1999, -1999], "and is booked back")

# Disputes.
def disputed(method):
    payment = create(confirm=True, payment_method=method, return_url=BACK)
    return v1.disputes.list({"payment_intent": payment.id}).data[0]


for method, evidence, meanwhile, end in [
    ("pm_card_createDispute", "winning_evidence", "under_review", "won"),
    ("pm_card_createDispute", "losing_evidence", "under_review", "lost"),
    ("pm_card_createDisputeInquiry", "escalate_inquiry_evidence", "warning_under_review", "needs_response"),
    ("pm_card_createDisputeInquiry", "losing_evidence", "warning_under_review", "warning_closed"),
]:
    dispute = disputed(method)
    check(dispute.status.endswith("needs_response"), dispute.status)
    sent = v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": evidence}})
    check(sent.status == meanwhile, sent.status)
    decided = until(lambda: v1.disputes.retrieve(dispute.id), lambda found: found.status != meanwhile)
    check(decided.status == end, decided.status)
hopeless = disputed("pm_card_createDisputeProductNotReceived")
check(v1.disputes.close(hopeless.id).status == "lost", "given in")
refused(stripe.InvalidRequestError, lambda: v1.disputes.close(hopeless.id), http_status=400)

# Refused.
refused(stripe.InvalidRequestError, lambda: intents.create({"currency": "eur"}), code="parameter_missing", param="amount", http_status=400)
refused(stripe.InvalidRequestError, lambda: create(amount=10), code="amount_too_small", param="amount")
refused(stripe.InvalidRequestError, lambda: create(amount=0), code="parameter_invalid_integer", param="amount")
refused(stripe.InvalidRequestError, lambda: create(amount=10**12), code="amount_too_large", param="amount")
refused(stripe.InvalidRequestError, lambda: create(currency="xyz"), param="currency")
refused(stripe.InvalidRequestError, lambda: create(colour="red"), code="parameter_unknown", param="colour")
refused(stripe.InvalidRequestError, lambda: create(receipt_email="nobody"), code="email_invalid")
refused(stripe.InvalidRequestError, lambda: intents.retrieve("pi_nothing"), code="resource_missing", http_status=404, param="intent")
refused(stripe.InvalidRequestError, lambda: intents.confirm(create().id, {"payment_method": "pm_card_visa"}), http_status=400)
refused(
    stripe.InvalidRequestError,
    lambda: intents.cancel(paid.id),
    code="payment_intent_unexpected_state",
    http_status=400,
)
refused(stripe.AuthenticationError, lambda: client("sk_test_another").v1.payment_intents.list(), http_status=401)
refused(stripe.AuthenticationError, lambda: client("sk_live_dangerous").v1.payment_intents.list(), http_status=401)
refused(stripe.PermissionError, lambda: client(os.environ["SANDBOX_PUBLISHABLE_KEY"]).v1.payment_intents.list(), http_status=403)

# Idempotency keys.
first = create({"idempotency_key": "order-7"})
replayed = create({"idempotency_key": "order-7"})
check(replayed.id == first.id, "replayed")
check(replayed.last_response.headers["Idempotent-Replayed"] == "true", "and it says so")
refused(stripe.IdempotencyError, lambda: create({"idempotency_key": "order-7"}, amount=2000), http_status=400)
refused(stripe.IdempotencyError, lambda: intents.update(first.id, {"amount": 2000}, {"idempotency_key": "order-7"}), http_status=400)

# Lists.
page = intents.list({"limit": 3})
check(len(page.data) == 3 and page.has_more and page.data[0].created >= page.data[2].created, "a page")
everything = [intent.id for intent in intents.list({"limit": 3}).auto_paging_iter()]
check(len(everything) == len(set(everything)) and paid.id in everything, "all pages")
check(everything == [intent.id for intent in intents.list({"limit": 100}).data], "in the same order")
backwards = intents.list({"limit": 2, "ending_before": everything[5]}).data
check([intent.id for intent in backwards] == everything[3:5], "backwards")
check(intents.list({"created": {"gt": paid.created + 3600}}).data == [], "by time")

# Events.
events = client().v1.events
succeeded = [event for event in events.list({"type": "payment_intent.succeeded", "limit": 100}).data if event.data.object.id == paid.id]
check(len(succeeded) == 1, "one event")
event = events.retrieve(succeeded[0].id)
check(event.object == "event" and event.type == "payment_intent.succeeded" and not event.livemode, "event")
check(event.data.object.status == "succeeded" and event.request.id.startswith("req_"), "its object")
types = {event.type for event in events.list({"types": ["charge.failed", "payment_intent.canceled"], "limit": 100}).data}
check(types == {"charge.failed", "payment_intent.canceled"}, types)

# Webhooks: what the SDK verifies is genuine to any merchant.
received = queue.Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        received.put((body, self.headers["Stripe-Signature"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
endpoint = client().v1.webhook_endpoints.create(
    {"url": f"http://127.0.0.1:{receiver.server_port}/webhook", "enabled_events": ["*"]}
)
ours = create(confirm=True, payment_method="pm_card_visa", return_url=BACK)
verified = set()
while "payment_intent.succeeded" not in verified:
    body, signature = received.get(timeout=60)
    event = stripe.Webhook.construct_event(body, signature, endpoint.secret)
    check(event.object == "event" and not event.livemode, "event")
    if event.data.object.object == "payment_intent":
        check(event.data.object.id == ours.id, "its PaymentIntent")
    verified.add(event.type)
    for changed in (body[:-1], body + b"\n", body.replace(b"1999", b"1998")):
        checks += 1
        try:
            stripe.Webhook.construct_event(changed, signature, endpoint.secret)
            raise AssertionError("a changed body was taken")
        except stripe.SignatureVerificationError:
            pass
receiver.shutdown()

print(f"Python SDK {stripe.VERSION}: {checks} checks, webhooks verified: {', '.join(sorted(verified))}")
