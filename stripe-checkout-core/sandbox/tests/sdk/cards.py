"""The official Python SDK against a sandbox: customers, saved cards, SetupIntents, and charges of a buyer who is away."""

import os
import urllib.parse
import urllib.request

import stripe

URL = os.environ["SANDBOX_URL"]
BACK = "https://shop.example/saved"
checks = 0
# No retries, so that the script sees each answer.
v1 = stripe.StripeClient(os.environ["SANDBOX_SECRET_KEY"], base_addresses={"api": URL}, max_network_retries=0).v1


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
            found = getattr(error.error if name == "decline_code" else error, name)
            check(found == value, f"{name} is {found!r}, not {value!r}")
        return error
    raise AssertionError(f"no {kind.__name__}")


def bank(intent, outcome):
    """What the buyer tells his bank on its page."""
    form = urllib.parse.urlencode({"outcome": outcome, "client_secret": intent.client_secret}).encode()
    urllib.request.urlopen(f"{URL}/sandbox/3ds/{intent.id}", form).read()


# Customers.
ada = v1.customers.create({"email": "ada@example.com", "name": "Ada", "metadata": {"user": "7"}})
bob = v1.customers.create({"email": "bob@example.com"})
check(ada.object == "customer" and ada.id.startswith("cus_") and not ada.livemode, "customer")
check(v1.customers.retrieve(ada.id).to_dict() == ada.to_dict(), "the same when read")
check(v1.customers.update(ada.id, {"name": "Ada L"}).name == "Ada L", "update")
check([one.id for one in v1.customers.list({"email": "ada@example.com"}).data] == [ada.id], "by address")
check([one.id for one in v1.customers.search({"query": "metadata['user']:'7'"}).data] == [ada.id], "search")
refused(stripe.InvalidRequestError, lambda: v1.customers.retrieve("cus_nobody"), code="resource_missing", http_status=404)
refused(stripe.InvalidRequestError, lambda: v1.customers.create({"email": "nobody"}), code="email_invalid", http_status=400)

# Attached, listed, detached.
card = v1.payment_methods.attach("pm_card_visa", {"customer": ada.id})
check(card.customer == ada.id and card.card.last4 == "4242" and card.allow_redisplay == "unspecified", "attached")
check(v1.payment_methods.update(card.id, {"allow_redisplay": "always"}).allow_redisplay == "always", "redisplay")
check([one.id for one in v1.customers.payment_methods.list(ada.id).data] == [card.id], "of the customer")
check([one.id for one in v1.payment_methods.list({"customer": ada.id, "type": "card"}).data] == [card.id], "of the customer, too")
check(v1.customers.payment_methods.retrieve(ada.id, card.id).id == card.id, "one of the customer's")
refused(stripe.InvalidRequestError, lambda: v1.customers.payment_methods.retrieve(bob.id, card.id), http_status=404)
refused(stripe.InvalidRequestError, lambda: v1.payment_methods.attach(card.id, {"customer": bob.id}), http_status=400)
check(v1.payment_methods.detach(card.id).customer is None, "detached")
refused(stripe.InvalidRequestError, lambda: v1.payment_methods.detach(card.id), http_status=400)
refused(stripe.CardError, lambda: v1.payment_methods.attach("pm_card_chargeDeclined", {"customer": ada.id}), code="card_declined")

# SetupIntents.
begun = v1.setup_intents.create({"customer": ada.id, "metadata": {"a": "b"}})
check(begun.object == "setup_intent" and begun.status == "requires_payment_method" and begun.usage == "off_session", "begun")
check(begun.client_secret.startswith(begun.id + "_secret_"), "client secret")
check(v1.setup_intents.update(begun.id, {"description": "A card"}).description == "A card", "update")
saved = v1.setup_intents.confirm(begun.id, {"payment_method": "pm_card_visa", "return_url": BACK, "expand": ["payment_method"]})
check(saved.status == "succeeded" and saved.payment_method.customer == ada.id, "saved")
check(v1.setup_intents.retrieve(begun.id).payment_method == saved.payment_method.id, "and kept")
canceled = v1.setup_intents.cancel(v1.setup_intents.create({"customer": ada.id}).id, {"cancellation_reason": "abandoned"})
check(canceled.status == "canceled" and canceled.cancellation_reason == "abandoned", "canceled")
error = refused(
    stripe.InvalidRequestError, lambda: v1.setup_intents.cancel(canceled.id), code="setup_intent_unexpected_state", http_status=400
)
check(error.error.setup_intent.id == canceled.id, "the error carries the intent")
error = refused(
    stripe.CardError,
    lambda: v1.setup_intents.create({"customer": ada.id, "confirm": True, "payment_method": "pm_card_chargeDeclined", "return_url": BACK}),
    code="card_declined",
    decline_code="generic_decline",
)
check(error.error.setup_intent.last_setup_error.decline_code == "generic_decline", "last_setup_error")
check(len(v1.setup_intents.list({"customer": ada.id}).data) == 3, "list")


def set_up(method):
    setup = v1.setup_intents.create({"customer": ada.id, "confirm": True, "payment_method": method, "return_url": BACK})
    if setup.status == "requires_action":
        check(setup.next_action.type == "redirect_to_url" and setup.next_action.redirect_to_url.return_url == BACK, "next action")
        bank(setup, "succeed")
        setup = v1.setup_intents.retrieve(setup.id)
    check(setup.status == "succeeded", f"{method}: {setup.status}")
    return setup.payment_method


def away(method, **more):
    return v1.payment_intents.create(
        {"amount": 1999, "currency": "eur", "customer": ada.id, "payment_method": method, "confirm": True, "off_session": True, **more}
    )


# Charges while the buyer is away.
for name, code, decline_code in [
    ("pm_card_visa", None, None),
    ("pm_card_authenticationRequiredOnSetup", None, None),
    ("pm_card_authenticationRequiredSetupForOffSession", None, None),
    ("pm_card_authenticationRequired", "authentication_required", "authentication_required"),
    ("pm_card_chargeCustomerFail", "card_declined", "generic_decline"),
]:
    method = set_up(name)
    if code is None:
        paid = away(method)
        check(paid.status == "succeeded" and paid.customer == ada.id, f"{name}: {paid.status}")
        continue
    error = refused(stripe.CardError, lambda: away(method), code=code, decline_code=decline_code, http_status=402)
    check(error.error.payment_intent.status == "requires_payment_method", "the intent waits")
    check(error.error.payment_method.id == method, "and the card is named")

# Confirmed again with the buyer present: the same intent and the same card.
method = set_up("pm_card_authenticationRequired")
intent = refused(stripe.CardError, lambda: away(method), code="authentication_required").error.payment_intent
asked = v1.payment_intents.confirm(intent.id, {"payment_method": method, "return_url": BACK})
check(asked.status == "requires_action", asked.status)
bank(asked, "succeed")
check(v1.payment_intents.retrieve(intent.id).status == "succeeded", "paid after all")

# Another customer's card is never charged.
refused(stripe.InvalidRequestError, lambda: away(method, customer=bob.id), http_status=400)
refused(
    stripe.InvalidRequestError,
    lambda: v1.payment_intents.create({"amount": 1999, "currency": "eur", "customer": "cus_nobody"}),
    code="resource_missing",
    param="customer",
)

# Paying saves the card.
paid = v1.payment_intents.create(
    {
        "amount": 1999,
        "currency": "eur",
        "customer": bob.id,
        "confirm": True,
        "payment_method": "pm_card_visa",
        "setup_future_usage": "off_session",
        "return_url": BACK,
    }
)
check([one.id for one in v1.customers.payment_methods.list(bob.id).data] == [paid.payment_method], "saved by paying")

# Customer sessions.
session = v1.customer_sessions.create(
    {"customer": ada.id, "components": {"payment_element": {"enabled": True, "features": {"payment_method_redisplay": "enabled"}}}}
)
check(session.object == "customer_session" and session.client_secret.startswith("cuss_secret_"), "customer session")
check(session.components.payment_element.features.payment_method_redisplay == "enabled", "its features")
check(session.components.payment_element.features.payment_method_save == "disabled", "and no others")

# A deleted customer.
gone = v1.customers.delete(bob.id)
check(gone.deleted and v1.customers.retrieve(bob.id).deleted, "deleted")

# The types of the events.
types = {event.type for event in v1.events.list({"limit": 100}).auto_paging_iter()}
expected = {
    "customer.created", "customer.updated", "customer.deleted", "payment_method.attached", "payment_method.detached", "payment_method.updated",
    "setup_intent.created", "setup_intent.requires_action", "setup_intent.succeeded", "setup_intent.setup_failed", "setup_intent.canceled",
}
check(expected <= types, expected - types)
[detached] = [event for event in v1.events.list({"type": "payment_method.detached", "limit": 100}).data if event.data.object.id == card.id]
check(detached.data.previous_attributes["customer"] == ada.id and detached.data.object.customer is None, "whose it was")

print(f"Python SDK {stripe.VERSION}: {checks} checks of customers and saved cards")
