"""The official Python SDK against a sandbox's Checkout Sessions: made, listed, paid on the sandbox's page, expired, refused; coupons and promotion codes."""

import json
import os
import urllib.parse
import urllib.request

import stripe

URL = os.environ["SANDBOX_URL"]
checks = 0
client = stripe.StripeClient(os.environ["SANDBOX_SECRET_KEY"], base_addresses={"api": URL}, max_network_retries=0)
sessions = client.v1.checkout.sessions


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        raise AssertionError(what)


def refused(call, **expected):
    try:
        call()
    except stripe.InvalidRequestError as error:
        for name, value in expected.items():
            check(getattr(error, name) == value, f"{name} is {getattr(error, name)!r}, not {value!r}: {error}")
        return
    raise AssertionError("not refused")


def tea(**more):
    item = {"price_data": {"currency": "eur", "unit_amount": 1000, "tax_behavior": "exclusive", "product_data": {"name": "Tea"}}, "quantity": 2}
    return {"mode": "payment", "success_url": "https://shop.example/done?id={CHECKOUT_SESSION_ID}", "line_items": [item], **more}


def on_page(session, action, **form):
    request = urllib.request.Request(f"{URL}/sandbox/checkout/{session}/{action}", urllib.parse.urlencode(form).encode())
    try:
        return json.load(urllib.request.urlopen(request))
    except urllib.error.HTTPError as error:
        return json.load(error)


def pay(session, number="4242424242424242"):
    card = {"number": number, "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    form = {f"payment_method_data[card][{name}]": value for name, value in card.items()}
    return on_page(session, "pay", email="jenny@example.com", **{"payment_method_data[type]": "card", **form})


# Made and read.
made = sessions.create(
    tea(
        metadata={"order_id": "7"},
        payment_intent_data={"metadata": {"order_id": "7"}, "description": "Two teas"},
        client_reference_id="7",
        cancel_url="https://shop.example/cart",
        allow_promotion_codes=True,
        shipping_options=[{"shipping_rate_data": {"display_name": "Post", "type": "fixed_amount", "tax_behavior": "exclusive", "fixed_amount": {"amount": 490, "currency": "eur"}}}],
        automatic_tax={"enabled": True},
    )
)
check(made.id.startswith("cs_test_") and made.object == "checkout.session", made.id)
check((made.status, made.payment_status, made.mode, made.ui_mode) == ("open", "unpaid", "payment", "hosted_page"), made.status)
check((made.amount_subtotal, made.amount_total) == (2000, 2000 + 490 + 249), made.amount_total)
check(made.payment_intent is None and made.url.startswith(URL), "no PaymentIntent before somebody pays")
check(made.expires_at - made.created == 24 * 60 * 60, "a day")
check(sessions.retrieve(made.id).to_dict() == made.to_dict(), "the same when read")
items = sessions.line_items.list(made.id)
check(len(items.data) == 1 and items.data[0].amount_subtotal == 2000 and items.data[0].price.unit_amount == 1000, "line items")
whole = sessions.retrieve(made.id, {"expand": ["line_items", "payment_intent"]})
check(whole.line_items.data[0].description == "Tea" and whole.payment_intent is None, "expanded")

# Paid, with a code that the merchant made.
coupon = client.v1.coupons.create({"percent_off": 12.5, "duration": "once"})
code = client.v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "TWELVE"})
check(code.active and code.promotion.coupon == coupon.id and coupon.percent_off == 12.5, "promotion code")
shown = on_page(made.id, "code", code="twelve")
check(shown["discount"] == 250, shown)
check(on_page(made.id, "code", code="wrong")["error"]["param"] == "code", "a wrong code")
check(pay(made.id, "4000000000000002")["error"]["decline_code"] == "generic_decline", "declined")
check(sessions.retrieve(made.id).status == "open", "still open")
check(pay(made.id)["status"] == "complete", "paid")
paid = sessions.retrieve(made.id, {"expand": ["payment_intent.latest_charge", "discounts.promotion_code"]})
check((paid.status, paid.payment_status, paid.url) == ("complete", "paid", None), paid.status)
total = 2000 - 250 + 490 + 224
check(paid.amount_total == total and paid.total_details.amount_discount == 250 and paid.total_details.amount_shipping == 490, paid.amount_total)
intent = paid.payment_intent
check((intent.status, intent.amount_received, intent.description) == ("succeeded", total, "Two teas"), intent.status)
check(intent.metadata["order_id"] == "7" and intent.latest_charge.billing_details.email == "jenny@example.com", "metadata")
check(paid.customer_details.email == "jenny@example.com" and paid.discounts[0].promotion_code.code == "TWELVE", "details")
check(client.v1.promotion_codes.retrieve(code.id).times_redeemed == 1, "redeemed")
check([found.id for found in sessions.list({"payment_intent": intent.id}).data] == [made.id], "found by its PaymentIntent")
refused(lambda: sessions.expire(made.id), http_status=400)
events = [event for event in client.v1.events.list({"type": "checkout.session.completed"}).data if event.data.object.id == made.id]
check(len(events) == 1 and events[0].data.object.payment_status == "paid", "one event")

# Free.
free = sessions.create(tea(discounts=[{"coupon": "sandboxfree"}]))
check((free.amount_total, free.payment_status) == (0, "no_payment_required"), free.payment_status)
check(on_page(free.id, "pay", email="jenny@example.com")["status"] == "complete", "free")
check(sessions.retrieve(free.id).payment_intent is None, "no PaymentIntent")

# Embedded. The whole client secret pays, and the bank sends the buyer back to the same page.
frame = tea(ui_mode="embedded_page", return_url="https://shop.example/done")
del frame["success_url"]
secure = sessions.create(frame)
for name in (secure.id, f"{secure.id}_secret_wrong", secure.client_secret[:-1]):
    check(pay(name)["error"]["code"] == "resource_missing", "the id alone pays nothing")
bank = pay(secure.client_secret, "4000002500003155")["action"]
source = urllib.parse.parse_qs(urllib.parse.urlparse(bank).query)["source"][0]
landed = urllib.request.urlopen(bank, urllib.parse.urlencode({"outcome": "succeed", "source": source}).encode())
check(urllib.parse.urlparse(landed.url).path == f"/sandbox/checkout/{secure.client_secret}", "back on the page")
check(sessions.retrieve(secure.id).payment_status == "paid", "paid in a frame")

# Embedded, and over.
framed = sessions.create(frame)
check(framed.url is None and framed.client_secret.startswith(framed.id + "_secret_"), "embedded")
over = sessions.expire(framed.id)
check((over.status, over.url, over.client_secret) == ("expired", None, None), over.status)
check("error" in pay(framed.client_secret), "nobody pays it any more")
check(framed.id in [found.id for found in sessions.list({"status": "expired"}).data], "listed")

# A PaymentIntent of a session's is not canceled past it.
tried = sessions.create(tea())
pay(tried.id, "4000000000000002")
inside = sessions.retrieve(tried.id).payment_intent
refused(lambda: client.v1.payment_intents.cancel(inside), code="payment_intent_unexpected_state")
sessions.expire(tried.id)
check(client.v1.payment_intents.retrieve(inside).status == "canceled", "but with it")

# Refused.
refused(lambda: sessions.create({"mode": "payment", "success_url": "https://a.example"}), param="line_items")
refused(lambda: sessions.create({key: value for key, value in tea().items() if key != "success_url"}), param="success_url")
refused(lambda: sessions.create(tea(success_url="shop.example")), code="url_invalid")
refused(lambda: sessions.create(tea(return_url="https://a.example")), param="return_url")
refused(lambda: sessions.create(tea(colour="red")), code="parameter_unknown")
refused(lambda: sessions.create(tea(payment_intent_data={"colour": "red"})), param="payment_intent_data[colour]")
refused(lambda: sessions.create(tea(discounts=[{"coupon": "nothing"}])), code="resource_missing")
refused(lambda: sessions.create(tea(expires_at=made.created + 60)), param="expires_at")
refused(lambda: sessions.create(tea(subscription_data={"description": "x"})), param="subscription_data[description]")
refused(lambda: sessions.retrieve("cs_test_nothing"), code="resource_missing", http_status=404)
refused(lambda: client.v1.coupons.create({"percent_off": 101}), param="percent_off")

# Once for each key.
first = sessions.create(tea(), {"idempotency_key": "order-7"})
check(sessions.create(tea(), {"idempotency_key": "order-7"}).id == first.id, "replayed")
print(f"{checks} checks by stripe {stripe.VERSION} for Python, of Checkout Sessions")
