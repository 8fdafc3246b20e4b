"""The operations and the parameters that the sandbox implements, and how each one shows its effect."""

import time

from asking import made

BACK = "https://shop.example/back"


class Shown:
    def __init__(self, value, beyond=False, unfit=()):
        # A function makes a new object for each request.
        self.given = value
        # Stripe takes the parameter, and the SDK's types do not have it.
        self.beyond = beyond
        # Words of the parameter's type that Stripe refuses beside the rest of the request.
        self.unfit = unfit

    @property
    def value(self):
        return self.given() if callable(self.given) else self.given


class Same(Shown):
    """The answer shows the value in the place of the parameter's name, or in another place."""

    def __init__(self, value, place=None, shown=None, **more):
        super().__init__(value, **more)
        self.place = place
        self.shown = shown


class Test(Shown):
    """This test shows the effect."""

    def __init__(self, name, value, **more):
        super().__init__(value, **more)
        self.name = name


class Only(Shown):
    """The sandbox has this value only, which is Stripe's default. It refuses the other one by name."""

    def __init__(self, value, refused, **more):
        super().__init__(value, **more)
        self.refused = refused


class Unfit(Shown):
    """The sandbox implements the parameter and refuses it in this operation, in a sentence that names the sandbox."""


def customer():
    return made("POST", "/v1/customers", email="jenny@example.com", **{"address[country]": "DE"})["id"]


def payment_method(name="pm_card_visa"):
    token = name.replace("pm_card_", "tok_")
    return made("POST", "/v1/payment_methods", type="card", **{"card[token]": token})["id"]


def saved_payment_method(owner=None):
    return made("POST", f"/v1/payment_methods/{payment_method()}/attach", customer=owner or customer())


def intent(**more):
    return made("POST", "/v1/payment_intents", amount=1999, currency="eur", **more)


def paid(card="pm_card_visa", **more):
    return intent(confirm="true", payment_method=card, return_url=BACK, **more)


def setup():
    return made("POST", "/v1/setup_intents")


def refund(card="pm_card_visa"):
    return made("POST", "/v1/refunds", payment_intent=paid(card)["id"])


def dispute():
    payment = paid("pm_card_createDispute")["id"]
    return made("GET", "/v1/disputes", payment_intent=payment)["data"][0]["id"]


def coupon():
    return made("POST", "/v1/coupons", percent_off="10")["id"]


def promotion_code():
    return made("POST", "/v1/promotion_codes", **{"promotion[type]": "coupon", "promotion[coupon]": coupon()})["id"]


def session(**more):
    lines = {
        "line_items[0][price_data][currency]": "eur",
        "line_items[0][price_data][unit_amount]": "1000",
        "line_items[0][price_data][product_data][name]": "Tea",
        "line_items[0][quantity]": "1",
    }
    return made("POST", "/v1/checkout/sessions", mode="payment", success_url=BACK, **lines, **more)


def endpoint():
    url = "http://127.0.0.1:1/webhook"
    return made("POST", "/v1/webhook_endpoints", url=url, **{"enabled_events[0]": "charge.failed"})["id"]


def mandate():
    debited = made(
        "POST",
        "/v1/payment_intents",
        amount=1999,
        currency="eur",
        confirm="true",
        return_url=BACK,
        payment_method="pm_success_de",
        **{"mandate_data[customer_acceptance][type]": "offline"},
    )
    charge = made("GET", f"/v1/charges/{debited['latest_charge']}")
    return charge["payment_method_details"]["sepa_debit"]["mandate"]


def booking():
    payment = paid(capture_method="automatic")
    return made("GET", f"/v1/charges/{payment['latest_charge']}")["balance_transaction"]


def event():
    intent()
    return made("GET", "/v1/events", limit=1)["data"][0]["id"]


ADDRESS = {"city": "Berlin", "country": "DE", "line1": "Teeweg 1", "line2": "2", "postal_code": "10115", "state": "BE"}
EXPAND = {"expand[0]": Test("expand_puts_objects_in_the_place_of_ids", "nothing")}
METADATA = {"metadata[key]": Same("value")}
PLACE = {
    "limit": Test("pages_forwards_and_backwards", "1"),
    "starting_after": Test("pages_forwards_and_backwards", None),
    "ending_before": Test("pages_forwards_and_backwards", None),
}
CREATED = {f"created[{bound}]": Test("by_time", "1") for bound in ("gt", "gte", "lt", "lte")}
CREATED["created"] = Test("by_time", "1")


def under(group, values, place=None):
    return {f"{group}[{name}]": Same(value, f"{place}[{name}]" if place else None) for name, value in values.items()}


def shipping(group="shipping", **more):
    return {
        **under(f"{group}[address]", ADDRESS, more.get("place") and f"{more['place']}[address]"),
        f"{group}[name]": Same("Jenny", more.get("place") and f"{more['place']}[name]"),
        f"{group}[phone]": Same("+49 30", more.get("place") and f"{more['place']}[phone]"),
    }


def parcel(**more):
    return {**shipping(**more), "shipping[carrier]": Same("Post"), "shipping[tracking_number]": Same("7")}


def method_data(group, place):
    """The parameters of a new payment method, shown in the method of the answer."""
    prefix = f"{group}[" if group else ""
    name = lambda field: f"{prefix}{field}]" if group else field
    inner = lambda *fields: name(fields[0]) + "".join(f"[{field}]" for field in fields[1:])
    at = lambda path: f"{place}[{path}" if place else path.replace("]", "", 1)
    billing = {"email": "a@example.com", "name": "Jenny", "phone": "+49 30", "tax_id": "DE1"}
    found = {
        # A debit needs an account beside its type: the parameter below.
        name("type"): Same("card", at("type]"), unfit=("sepa_debit",)),
        name("allow_redisplay"): Same("always", at("allow_redisplay]")),
        inner("metadata", "key"): Same("value", at("metadata][key]")),
        inner("sepa_debit", "iban"): Test("a_buyer_types_an_iban", "DE89370400440532013000"),
    }
    for field, value in billing.items():
        found[inner("billing_details", field)] = Same(value, at(f"billing_details][{field}]"))
    for field, value in ADDRESS.items():
        found[inner("billing_details", "address", field)] = Same(value, at(f"billing_details][address][{field}]"))
    return found


# The sandbox saves cards only.
SETUP_DATA = {name: how for name, how in method_data("payment_method_data", "payment_method").items() if "sepa_debit" not in name}
SETUP_DATA["payment_method_data[sepa_debit][iban]"] = Unfit("DE89370400440532013000")
OPTIONS = {
    "payment_method_options[card][capture_method]": Same("manual"),
    "payment_method_options[card][request_multicapture]": Same("if_available"),
    "payment_method_options[card][request_overcapture]": Same("if_available"),
    "payment_method_options[card][setup_future_usage]": Same("off_session"),
    "payment_method_options[card][request_three_d_secure]": Only("automatic", "any"),
    "payment_method_options[sepa_debit][setup_future_usage]": Same("off_session"),
}
ACCEPTANCE = {
    "mandate_data[customer_acceptance][accepted_at]": Test("a_mandate_says_when_and_how_the_buyer_agreed", "1700000000"),
    "mandate_data[customer_acceptance][online][ip_address]": Test("a_mandate_says_when_and_how_the_buyer_agreed", "127.0.0.1"),
    "mandate_data[customer_acceptance][online][user_agent]": Test("a_mandate_says_when_and_how_the_buyer_agreed", "browser"),
    "mandate_data[customer_acceptance][type]": Test("a_mandate_says_when_and_how_the_buyer_agreed", "online"),
}
CONFIRMATION = {
    "error_on_requires_action": Test("without_a_buyer_3d_secure_is_a_decline", "true"),
    "off_session": Test("a_buyer_who_is_away_gets_no_challenge", "true"),
    "return_url": Same(BACK, "next_action[redirect_to_url][return_url]"),
    "use_stripe_sdk": Same("true", "next_action[type]", "use_stripe_sdk"),
    **ACCEPTANCE,
}
INTENT = {
    "amount": Same("2000"),
    "application_fee_amount": Same("10"),
    "capture_method": Same("manual"),
    "currency": Same("usd"),
    "customer": Same(customer),
    "description": Same("Two books"),
    **METADATA,
    "payment_method": Same(payment_method),
    **method_data("payment_method_data", "payment_method"),
    **OPTIONS,
    "receipt_email": Same("a@example.com"),
    "setup_future_usage": Same("off_session"),
    **parcel(),
    "statement_descriptor": Same("Tea and books"),
    "statement_descriptor_suffix": Same("O #7"),
    "transfer_group": Same("group"),
    **EXPAND,
}
TRANSFER = {"transfer_data[amount]": Same("100"), "transfer_data[destination]": Same("acct_1")}
AUTOMATIC = {
    "automatic_payment_methods[allow_redirects]": Same("never"),
    "automatic_payment_methods[enabled]": Same("true"),
}
CUSTOMER = {
    **under("address", ADDRESS),
    "description": Same("A reader"),
    "email": Same("a@example.com"),
    "name": Same("Jenny"),
    "phone": Same("+49 30"),
    "preferred_locales[0]": Same("de"),
    **shipping(),
    **METADATA,
    **EXPAND,
}
EVIDENCE = {
    name: "2026-01-01"
    for name in (
        "access_activity_log billing_address cancellation_policy_disclosure cancellation_rebuttal customer_email_address customer_name"
        " customer_purchase_ip duplicate_charge_explanation duplicate_charge_id product_description refund_policy_disclosure"
        " refund_refusal_explanation service_date shipping_address shipping_carrier shipping_date shipping_tracking_number"
        " uncategorized_text"
    ).split()
}
FEATURES = "components[payment_element][features]"
RATE = "shipping_options[0][shipping_rate_data]"
SHOWN_RATE = "shipping_cost[shipping_rate]"
PRICE = "line_items[0][price_data]"
SHOWN_PRICE = "line_items[data][0][price]"
PAYING = "payment_intent_data"
PAID = "what_a_session_says_about_its_payment_reaches_the_payment"
SESSION = {
    "adaptive_pricing[enabled]": Only("false", "true"),
    "allow_promotion_codes": Same("true"),
    "automatic_tax[enabled]": Same("true"),
    "billing_address_collection": Only("auto", "required"),
    "cancel_url": Same(BACK),
    "client_reference_id": Same("order-7"),
    "customer": Same(customer),
    "customer_creation": Only("if_required", "always"),
    "customer_email": Same("a@example.com"),
    "customer_update[address]": Test("customer_update_saves_what_the_buyer_enters", "auto"),
    "customer_update[name]": Only("never", "auto"),
    "customer_update[shipping]": Test("customer_update_saves_what_the_buyer_enters", "auto"),
    "discounts[0][coupon]": Same(coupon),
    "discounts[0][promotion_code]": Same(promotion_code),
    "expires_at": Same(lambda: str(int(time.time()) + 7200)),
    "invoice_creation[enabled]": Only("false", "true"),
    "line_items[0][metadata][key]": Same("value", "line_items[data][0][metadata][key]"),
    f"{PRICE}[currency]": Same("usd", f"{SHOWN_PRICE}[currency]"),
    f"{PRICE}[product_data][description]": Same("Green", f"{SHOWN_PRICE}[product][description]"),
    f"{PRICE}[product_data][images][0]": Same("https://shop.example/tea.png", f"{SHOWN_PRICE}[product][images][0]"),
    f"{PRICE}[product_data][metadata][key]": Same("value", f"{SHOWN_PRICE}[product][metadata][key]"),
    f"{PRICE}[product_data][name]": Same("Coffee", f"{SHOWN_PRICE}[product][name]"),
    f"{PRICE}[product_data][tax_code]": Same("txcd_10000000", f"{SHOWN_PRICE}[product][tax_code]"),
    f"{PRICE}[tax_behavior]": Same("inclusive", f"{SHOWN_PRICE}[tax_behavior]"),
    f"{PRICE}[unit_amount]": Same("700", f"{SHOWN_PRICE}[unit_amount]"),
    "line_items[0][quantity]": Same("3", "line_items[data][0][quantity]"),
    "locale": Same("de"),
    **METADATA,
    "mode": Only("payment", "subscription"),
    f"{PAYING}[application_fee_amount]": Test(PAID, "10"),
    f"{PAYING}[capture_method]": Test(PAID, "manual"),
    f"{PAYING}[description]": Test(PAID, "Two books"),
    f"{PAYING}[metadata][key]": Test(PAID, "value"),
    f"{PAYING}[on_behalf_of]": Test(PAID, "acct_1"),
    f"{PAYING}[receipt_email]": Test(PAID, "a@example.com"),
    f"{PAYING}[setup_future_usage]": Test(PAID, "off_session"),
    **{f"{PAYING}[shipping][address][{name}]": Test(PAID, value) for name, value in ADDRESS.items()},
    f"{PAYING}[shipping][carrier]": Test(PAID, "Post"),
    f"{PAYING}[shipping][name]": Test(PAID, "Jenny"),
    f"{PAYING}[shipping][phone]": Test(PAID, "+49 30"),
    f"{PAYING}[shipping][tracking_number]": Test(PAID, "7"),
    f"{PAYING}[statement_descriptor]": Test(PAID, "Tea and books"),
    f"{PAYING}[statement_descriptor_suffix]": Test(PAID, "O #7"),
    f"{PAYING}[transfer_data][amount]": Test(PAID, "100"),
    f"{PAYING}[transfer_data][destination]": Test(PAID, "acct_1"),
    f"{PAYING}[transfer_group]": Test(PAID, "group"),
    "payment_method_types[0]": Same("card", beyond=True),
    "phone_number_collection[enabled]": Same("true"),
    "redirect_on_completion": Same("if_required"),
    "return_url": Same(BACK),
    "shipping_address_collection[allowed_countries][0]": Same("DE"),
    f"{RATE}[delivery_estimate][maximum][unit]": Same("day", f"{SHOWN_RATE}[delivery_estimate][maximum][unit]"),
    f"{RATE}[delivery_estimate][maximum][value]": Same("4", f"{SHOWN_RATE}[delivery_estimate][maximum][value]"),
    f"{RATE}[delivery_estimate][minimum][unit]": Same("day", f"{SHOWN_RATE}[delivery_estimate][minimum][unit]"),
    f"{RATE}[delivery_estimate][minimum][value]": Same("1", f"{SHOWN_RATE}[delivery_estimate][minimum][value]"),
    f"{RATE}[display_name]": Same("By hand", f"{SHOWN_RATE}[display_name]"),
    f"{RATE}[fixed_amount][amount]": Same("700", f"{SHOWN_RATE}[fixed_amount][amount]"),
    f"{RATE}[fixed_amount][currency]": Same("eur", f"{SHOWN_RATE}[fixed_amount][currency]"),
    f"{RATE}[metadata][key]": Same("value", f"{SHOWN_RATE}[metadata][key]"),
    f"{RATE}[tax_behavior]": Same("inclusive", f"{SHOWN_RATE}[tax_behavior]"),
    f"{RATE}[tax_code]": Same("txcd_92010001", f"{SHOWN_RATE}[tax_code]"),
    f"{RATE}[type]": Same("fixed_amount", f"{SHOWN_RATE}[type]"),
    "submit_type": Same("pay"),
    "success_url": Same(BACK),
    "tax_id_collection[enabled]": Only("false", "true"),
    # The embedded page has a `return_url` instead of the `success_url` of this request.
    "ui_mode": Same("hosted_page", unfit=("embedded_page",)),
    **EXPAND,
}

TOKEN = Test("a_browser_makes_a_token_that_pays_once", None)

IMPLEMENTED = {
    ("GET", "/v1/balance_transactions"): {
        **PLACE,
        **CREATED,
        "currency": Test("the_balance_is_listed", "usd"),
        "source": Test("the_balance_is_listed", "ch_1"),
        "type": Test("the_balance_is_listed", "refund"),
        **EXPAND,
    },
    ("GET", "/v1/balance_transactions/{id}"): EXPAND,
    ("GET", "/v1/charges"): {
        **PLACE,
        **CREATED,
        "customer": Test("lists_hold_what_their_filters_name", "cus_1"),
        "payment_intent": Test("charges_of_an_intent", "pi_1"),
        "transfer_group": Test("lists_hold_what_their_filters_name", "group"),
        **EXPAND,
    },
    ("GET", "/v1/charges/{charge}"): EXPAND,
    ("GET", "/v1/coupons/{coupon}"): EXPAND,
    ("POST", "/v1/coupons"): {
        "amount_off": Same("500"),
        "currency": Same("eur"),
        "duration": Same("forever"),
        "duration_in_months": Same("3"),
        "id": Same(lambda: f"coupon{time.time_ns()}"),
        "max_redemptions": Same("5"),
        **METADATA,
        "name": Same("Ten off"),
        "percent_off": Same("12.5"),
        **EXPAND,
    },
    ("GET", "/v1/customers/{customer}/payment_methods"): {
        **PLACE,
        "allow_redisplay": Test("lists_hold_what_their_filters_name", "always"),
        "type": Test("a_card_is_attached_listed_and_detached_for_good", "card"),
        **EXPAND,
    },
    ("GET", "/v1/customers/{customer}/payment_methods/{payment_method}"): EXPAND,
    ("DELETE", "/v1/customers/{customer}"): {},
    ("GET", "/v1/customers/{customer}"): EXPAND,
    ("POST", "/v1/customers/{customer}"): {
        **CUSTOMER,
        "invoice_settings[default_payment_method]": Test("a_customer_has_a_default_among_its_own_payment_methods", None),
    },
    ("GET", "/v1/customers"): {
        **PLACE,
        **CREATED,
        "email": Test("a_customer_is_made_read_changed_found_and_deleted", "a@example.com"),
        **EXPAND,
    },
    ("POST", "/v1/customers"): {
        **CUSTOMER,
        "invoice_settings[default_payment_method]": Test("a_customer_has_a_default_among_its_own_payment_methods", None),
        "payment_method": Test("a_card_is_attached_listed_and_detached_for_good", payment_method),
    },
    ("GET", "/v1/customers/search"): {
        "limit": Test("lists_hold_what_their_filters_name", "1"),
        "query": Test("a_customer_is_made_read_changed_found_and_deleted", "name:'Jenny'"),
        **EXPAND,
    },
    ("POST", "/v1/customer_sessions"): {
        "components[payment_element][enabled]": Same("false"),
        f"{FEATURES}[payment_method_allow_redisplay_filters][0]": Same("limited"),
        f"{FEATURES}[payment_method_redisplay]": Same("enabled"),
        f"{FEATURES}[payment_method_redisplay_limit]": Same("5"),
        f"{FEATURES}[payment_method_remove]": Same("enabled"),
        f"{FEATURES}[payment_method_save]": Same("enabled"),
        f"{FEATURES}[payment_method_save_usage]": Same("off_session"),
        "customer": Same(customer),
        **EXPAND,
    },
    ("GET", "/v1/disputes"): {
        **PLACE,
        **CREATED,
        "charge": Test("disputes_are_listed", "ch_1"),
        "payment_intent": Test("disputes_are_listed", "pi_1"),
        **EXPAND,
    },
    ("GET", "/v1/disputes/{dispute}"): EXPAND,
    ("POST", "/v1/disputes/{dispute}"): {
        **under("evidence", EVIDENCE),
        **METADATA,
        "submit": Same("true", "evidence_details[submission_count]", 1),
        **EXPAND,
    },
    ("POST", "/v1/disputes/{dispute}/close"): EXPAND,
    ("GET", "/v1/events"): {
        **PLACE,
        **CREATED,
        "delivery_success": Test("what_fails_for_good_is_given_up_listed_and_can_be_sent_again", "true"),
        "type": Test("events_by_type", "charge.failed"),
        "types[0]": Test("events_by_type", "charge.failed"),
        **EXPAND,
    },
    ("GET", "/v1/events/{id}"): EXPAND,
    ("GET", "/v1/mandates/{mandate}"): EXPAND,
    ("GET", "/v1/payment_intents"): {
        **PLACE,
        **CREATED,
        "customer": Test("lists_hold_what_their_filters_name", "cus_1"),
        **EXPAND,
    },
    ("POST", "/v1/payment_intents"): {
        **INTENT,
        **TRANSFER,
        **AUTOMATIC,
        **CONFIRMATION,
        "confirm": Same("true", "status", "succeeded"),
        "confirmation_method": Same("manual"),
        "on_behalf_of": Same("acct_1"),
        "payment_method_data[card][token]": Same("tok_visa", "payment_method[card][last4]", "4242", beyond=True),
        "payment_method_types[0]": Same("card", beyond=True),
    },
    ("GET", "/v1/payment_intents/{intent}"): {
        "client_secret": Test("a_browser_sees_its_intent_and_not_what_concerns_the_merchant", None),
        **EXPAND,
    },
    ("POST", "/v1/payment_intents/{intent}"): INTENT,
    ("POST", "/v1/payment_intents/{intent}/cancel"): {"cancellation_reason": Same("duplicate"), **EXPAND},
    ("POST", "/v1/payment_intents/{intent}/capture"): {
        "amount_to_capture": Same("500", "amount_received"),
        "final_capture": Test("a_payment_is_captured_several_times", "false"),
        **METADATA,
        **EXPAND,
    },
    ("POST", "/v1/payment_intents/{intent}/confirm"): {
        **CONFIRMATION,
        "capture_method": Same("manual"),
        "payment_method": Same(payment_method),
        **method_data("payment_method_data", "payment_method"),
        **OPTIONS,
        "receipt_email": Same("a@example.com"),
        "setup_future_usage": Same("off_session"),
        **parcel(),
        **EXPAND,
    },
    ("GET", "/v1/payment_methods"): {
        **PLACE,
        "allow_redisplay": Test("lists_hold_what_their_filters_name", "always"),
        "customer": Test("a_card_is_attached_listed_and_detached_for_good", customer),
        "type": Test("a_card_is_attached_listed_and_detached_for_good", "card"),
        **EXPAND,
    },
    ("POST", "/v1/payment_methods"): {
        **method_data("", ""),
        "card[token]": Same("tok_visa", "card[last4]", "4242"),
        "card[number]": Test("a_browser_makes_a_payment_method_and_sees_what_concerns_it", None),
        "card[exp_month]": Test("a_browser_makes_a_payment_method_and_sees_what_concerns_it", None),
        "card[exp_year]": Test("a_browser_makes_a_payment_method_and_sees_what_concerns_it", None),
        "card[cvc]": Test("a_browser_makes_a_payment_method_and_sees_what_concerns_it", None),
        **EXPAND,
    },
    ("GET", "/v1/payment_methods/{payment_method}"): EXPAND,
    ("POST", "/v1/payment_methods/{payment_method}"): {
        "allow_redisplay": Same("always"),
        **{name: how for name, how in method_data("", "").items() if name.startswith("billing_details")},
        "card[exp_month]": Same("7"),
        "card[exp_year]": Same("2040"),
        **METADATA,
        **EXPAND,
    },
    ("POST", "/v1/payment_methods/{payment_method}/attach"): {"customer": Same(customer), **EXPAND},
    ("POST", "/v1/payment_methods/{payment_method}/detach"): EXPAND,
    ("POST", "/v1/promotion_codes"): {
        "active": Same("false"),
        "code": Same(lambda: f"CODE{time.time_ns()}"),
        "max_redemptions": Same("5"),
        **METADATA,
        "promotion[coupon]": Same(coupon),
        "promotion[type]": Same("coupon"),
        **EXPAND,
    },
    ("GET", "/v1/promotion_codes/{promotion_code}"): EXPAND,
    ("GET", "/v1/refunds"): {
        **PLACE,
        **CREATED,
        "charge": Test("refunds_go_to_the_last_cent_and_no_further", "ch_1"),
        "payment_intent": Test("refunds_go_to_the_last_cent_and_no_further", "pi_1"),
        **EXPAND,
    },
    ("POST", "/v1/refunds"): {
        "amount": Same("500"),
        "charge": Same(lambda: paid()["latest_charge"]),
        **METADATA,
        "payment_intent": Same(lambda: paid()["id"]),
        "reason": Same("duplicate"),
        "refund_application_fee": Test("a_refund_takes_back_only_what_was_sent_on", "true"),
        "reverse_transfer": Test("a_refund_takes_back_only_what_was_sent_on", "true"),
        **EXPAND,
    },
    ("GET", "/v1/refunds/{refund}"): EXPAND,
    ("POST", "/v1/refunds/{refund}"): {**METADATA, **EXPAND},
    ("POST", "/v1/refunds/{refund}/cancel"): EXPAND,
    ("GET", "/v1/setup_intents"): {
        **PLACE,
        **CREATED,
        "customer": Test("lists_hold_what_their_filters_name", "cus_1"),
        "payment_method": Test("lists_hold_what_their_filters_name", "pm_1"),
        **EXPAND,
    },
    ("POST", "/v1/setup_intents"): {
        **AUTOMATIC,
        "confirm": Same("true", "status", "succeeded"),
        "customer": Same(customer),
        "description": Same("A card"),
        **METADATA,
        "on_behalf_of": Same("acct_1"),
        "payment_method": Same(payment_method),
        **SETUP_DATA,
        "payment_method_types[0]": Same("card", beyond=True),
        "return_url": CONFIRMATION["return_url"],
        "usage": Same("on_session"),
        "use_stripe_sdk": CONFIRMATION["use_stripe_sdk"],
        **EXPAND,
    },
    ("GET", "/v1/setup_intents/{intent}"): {
        "client_secret": Test("a_browser_sets_up_a_card_with_its_bank", None),
        **EXPAND,
    },
    ("POST", "/v1/setup_intents/{intent}"): {
        "customer": Same(customer),
        "description": Same("A card"),
        **METADATA,
        "payment_method": Same(payment_method),
        **SETUP_DATA,
        **EXPAND,
    },
    ("POST", "/v1/setup_intents/{intent}/cancel"): {"cancellation_reason": Same("duplicate"), **EXPAND},
    ("POST", "/v1/setup_intents/{intent}/confirm"): {
        "payment_method": Same(payment_method),
        **SETUP_DATA,
        "return_url": CONFIRMATION["return_url"],
        "use_stripe_sdk": CONFIRMATION["use_stripe_sdk"],
        **EXPAND,
    },
    # A server cannot make a token of a card number: tests in Rust ask as a browser does.
    ("GET", "/v1/tokens/{token}"): {"expand[0]": TOKEN},
    ("POST", "/v1/tokens"): {
        **{
            f"card[{name}]": TOKEN
            for name in (
                "address_city address_country address_line1 address_line2 address_state address_zip cvc exp_month exp_year name number".split()
            )
        },
        # The id of a card in the place of a card.
        "card": Unfit("card_1"),
        "expand[0]": TOKEN,
    },
    ("DELETE", "/v1/webhook_endpoints/{webhook_endpoint}"): {},
    ("GET", "/v1/webhook_endpoints/{webhook_endpoint}"): EXPAND,
    ("POST", "/v1/webhook_endpoints/{webhook_endpoint}"): {
        "description": Same("Shop"),
        "disabled": Same("true", "status", "disabled"),
        "enabled_events[0]": Same("charge.succeeded"),
        **METADATA,
        "url": Same("http://127.0.0.1:1/other"),
        **EXPAND,
    },
    ("GET", "/v1/webhook_endpoints"): {**PLACE, **EXPAND},
    ("POST", "/v1/webhook_endpoints"): {
        "api_version": Only("2026-09-30.endive", "2024-06-20"),
        "connect": Test("an_endpoint_gets_the_events_of_its_accounts", "true"),
        "description": Same("Shop"),
        "enabled_events[0]": Same("charge.succeeded"),
        **METADATA,
        "url": Same("http://127.0.0.1:1/other"),
        **EXPAND,
    },
    ("GET", "/v1/checkout/sessions/{session}/line_items"): {**PLACE, **EXPAND},
    ("GET", "/v1/checkout/sessions"): {
        **PLACE,
        **CREATED,
        "customer": Test("sessions_are_listed", "cus_1"),
        "payment_intent": Test("sessions_are_listed", "pi_1"),
        "status": Test("sessions_are_listed", "open"),
        **EXPAND,
    },
    ("POST", "/v1/checkout/sessions"): SESSION,
    ("GET", "/v1/checkout/sessions/{session}"): EXPAND,
    ("POST", "/v1/checkout/sessions/{session}/expire"): EXPAND,
}

HEADERS_SHOWN = {
    "api_key": Test("keys", None),
    "stripe_version": Test("versions_are_echoed", None),
    "stripe_account": Test("connected_accounts_do_not_see_each_other", None),
    "idempotency_key": Test("the_first_answer_comes_again", None),
    "content_type": Test("bodies_are_forms_and_not_too_large", None),
    # Refused: `parameters.py` asks.
    "stripe_context": None,
    # These two stay in the SDK.
    "max_network_retries": None,
    "headers": None,
}


def base(operation, given):
    """The path of the operation with the names of new objects, and what the request needs besides."""
    method, path = operation
    names = " ".join(given)
    has = lambda *parts: any(part in names for part in parts)
    needed = {}
    if has("payment_method_data"):
        needed["payment_method_data"] = {"type": "card", "card": {"token": "tok_visa"}}
        needed["expand"] = ["payment_method"]
        if has("[sepa_debit]"):
            billing = {"name": "Jenny", "email": "a@example.com"}
            needed["payment_method_data"] = {"type": "sepa_debit", "billing_details": billing}
            if path.endswith("confirm"):
                needed["mandate_data"] = {"customer_acceptance": {"type": "offline"}}
    if has("shipping[") and "payment_intent" in path or has("shipping[") and path.startswith("/v1/customers"):
        needed["shipping"] = {"name": "Ada", "address": {"line1": "Teeweg 2"}}
    if has("mandate_data") and "setup_intents" not in path:
        online = {"ip_address": "127.0.0.1", "user_agent": "browser"}
        needed["mandate_data"] = {"customer_acceptance": {"type": "online", "online": online}}
    if has("transfer_data", "application_fee_amount") and path == "/v1/payment_intents":
        needed["transfer_data"] = {"destination": "acct_1"}
    if has("return_url") and "checkout" not in path:
        needed["payment_method"] = "pm_card_authenticationRequired"
    if has("use_stripe_sdk"):
        needed |= {"payment_method": "pm_card_authenticationRequired", "return_url": BACK}
    match path:
        case "/v1/payment_intents" if method == "POST":
            needed |= {"amount": "1999", "currency": "eur"}
            if has("automatic_payment_methods"):
                needed["automatic_payment_methods"] = {"enabled": "true"}
            if has("confirm", "return_url", "off_session", "error_on", "mandate_data", "use_stripe_sdk") and not has("confirmation"):
                needed |= {"confirm": "true", "return_url": BACK, "payment_method": needed.get("payment_method", "pm_card_visa")}
            if has("statement_descriptor") and not has("suffix"):
                needed["payment_method_types"] = ["sepa_debit"]
        case "/v1/payment_intents/{intent}":
            more = {}
            if has("statement_descriptor") and not has("suffix"):
                more["payment_method_types[0]"] = "sepa_debit"
            if has("application_fee_amount"):
                more["transfer_data[destination]"] = "acct_1"
            made_intent = intent(**more)
            path = path.format(intent=made_intent["id"])
            if method == "GET" and has("client_secret"):
                given["client_secret"] = made_intent["client_secret"]
        case "/v1/payment_intents/{intent}/confirm":
            path = path.format(intent=intent()["id"])
            needed.setdefault("return_url", BACK)
            if not has("payment_method_data"):
                needed.setdefault("payment_method", "pm_card_visa")
        case "/v1/payment_intents/{intent}/capture":
            several = {"payment_method_options[card][request_multicapture]": "if_available"}
            path = path.format(intent=paid(capture_method="manual", **several)["id"])
        case "/v1/payment_intents/{intent}/cancel":
            path = path.format(intent=intent()["id"])
        case "/v1/setup_intents" if method == "POST":
            if has("automatic_payment_methods"):
                needed["automatic_payment_methods"] = {"enabled": "true"}
            if has("confirm", "return_url", "use_stripe_sdk") and not has("confirmation"):
                needed |= {"confirm": "true", "return_url": BACK, "payment_method": needed.get("payment_method", "pm_card_visa")}
        case "/v1/setup_intents/{intent}":
            made_setup = setup()
            path = path.format(intent=made_setup["id"])
            if method == "GET" and has("client_secret"):
                given["client_secret"] = made_setup["client_secret"]
        case "/v1/setup_intents/{intent}/confirm":
            path = path.format(intent=setup()["id"])
            needed.setdefault("return_url", BACK)
            if not has("payment_method_data"):
                needed.setdefault("payment_method", "pm_card_visa")
        case "/v1/setup_intents/{intent}/cancel":
            path = path.format(intent=setup()["id"])
        case "/v1/checkout/sessions" if method == "POST":
            needed |= base_of_session(has)
        case "/v1/checkout/sessions/{session}" | "/v1/checkout/sessions/{session}/expire" | "/v1/checkout/sessions/{session}/line_items":
            path = path.format(session=session()["id"])
        case "/v1/customers/{customer}":
            path = path.format(customer=customer())
        case "/v1/customers/{customer}/payment_methods":
            path = path.format(customer=customer())
        case "/v1/customers/{customer}/payment_methods/{payment_method}":
            saved = saved_payment_method()
            path = path.format(customer=saved["customer"], payment_method=saved["id"])
        case "/v1/customers/search":
            needed["query"] = "name:'Jenny'"
        case "/v1/customer_sessions":
            needed |= {"customer": customer(), "components": {"payment_element": {"enabled": "true"}}}
        case "/v1/payment_methods" if method == "POST":
            needed["type"] = "card"
            if not has("card["):
                needed["card"] = {"token": "tok_visa"}
            elif not has("card[token]"):
                needed["card"] = {"token": "tok_visa"}
            if has("sepa_debit[iban]"):
                needed |= {"type": "sepa_debit", "billing_details": {"name": "Jenny", "email": "a@example.com"}, "card": {}}
        case "/v1/payment_methods":
            needed["customer"] = customer()
        case "/v1/payment_methods/{payment_method}" if method == "POST":
            path = path.format(payment_method=saved_payment_method()["id"])
        case "/v1/payment_methods/{payment_method}":
            path = path.format(payment_method=payment_method())
        case "/v1/payment_methods/{payment_method}/attach":
            path = path.format(payment_method=payment_method())
            needed["customer"] = customer()
        case "/v1/payment_methods/{payment_method}/detach":
            path = path.format(payment_method=saved_payment_method()["id"])
        case "/v1/refunds" if method == "POST":
            if not has("charge", "payment_intent"):
                fees = {"transfer_data[destination]": "acct_1", "application_fee_amount": 10}
                needed["payment_intent"] = paid(**(fees if has("reverse_transfer", "refund_application_fee") else {}))["id"]
        case "/v1/refunds/{refund}" | "/v1/refunds/{refund}/cancel":
            card = "pm_card_pendingRefund" if path.endswith("cancel") else "pm_card_visa"
            path = path.format(refund=refund(card)["id"])
        case "/v1/disputes/{dispute}" | "/v1/disputes/{dispute}/close":
            path = path.format(dispute=dispute())
        case "/v1/coupons" if method == "POST":
            if has("amount_off", "currency") and not has("currency_options"):
                needed |= {"amount_off": "500", "currency": "eur"}
            else:
                needed["percent_off"] = "10"
            if has("duration_in_months") or "duration" in given and given["duration"] == "repeating":
                needed |= {"duration": "repeating", "duration_in_months": "3"}
        case "/v1/coupons/{coupon}":
            path = path.format(coupon=coupon())
        case "/v1/promotion_codes" if method == "POST":
            needed["promotion"] = {"type": "coupon", "coupon": coupon()}
        case "/v1/promotion_codes/{promotion_code}":
            path = path.format(promotion_code=promotion_code())
        case "/v1/webhook_endpoints" if method == "POST":
            needed |= {"url": "http://127.0.0.1:1/webhook", "enabled_events": ["*"]}
        case "/v1/webhook_endpoints/{webhook_endpoint}":
            path = path.format(webhook_endpoint=endpoint())
        case "/v1/charges/{charge}":
            path = path.format(charge=paid()["latest_charge"])
        case "/v1/events/{id}":
            path = path.format(id=event())
        case "/v1/mandates/{mandate}":
            path = path.format(mandate=mandate())
        case "/v1/balance_transactions/{id}":
            path = path.format(id=booking())
        case "/v1/tokens" if "card" not in given:
            needed["card"] = {"number": "4242424242424242", "exp_month": "12", "exp_year": "34"}
    return path, needed


def base_of_session(has):
    product = {"name": "Tea"}
    price = {"currency": "eur", "unit_amount": "1000", "tax_behavior": "exclusive", "product_data": product}
    needed = {
        "mode": "payment",
        "success_url": BACK,
        "line_items": [{"price_data": price, "quantity": "1"}],
        "expand": ["line_items.data.price.product"],
    }
    if has("shipping_options"):
        fixed = {"amount": "490", "currency": "eur"}
        rate = {"display_name": "Post", "type": "fixed_amount", "fixed_amount": fixed, "tax_behavior": "exclusive"}
        if has("delivery_estimate"):
            rate["delivery_estimate"] = {bound: {"unit": "day", "value": "2"} for bound in ("minimum", "maximum")}
        needed |= {"shipping_options": [{"shipping_rate_data": rate}], "expand": ["shipping_cost.shipping_rate"]}
    if has("return_url", "redirect_on_completion"):
        needed |= {"ui_mode": "embedded_page", "return_url": BACK}
        del needed["success_url"]
    if has("customer_update"):
        needed |= {"customer": customer(), "shipping_address_collection": {"allowed_countries": ["DE"]}}
    if has("payment_intent_data[shipping]"):
        needed["payment_intent_data"] = {"shipping": {"name": "Ada", "address": {"line1": "Teeweg 2"}}}
    if has("payment_intent_data[transfer_data]"):
        needed["payment_intent_data"] = {"transfer_data": {"destination": "acct_1"}}
    if has("payment_intent_data[application_fee_amount]"):
        needed["payment_intent_data"] = {"transfer_data": {"destination": "acct_1"}}
    if has("payment_intent_data[statement_descriptor]") and not has("suffix"):
        needed["payment_method_types"] = ["sepa_debit"]
    for switch in ("automatic_tax", "phone_number_collection", "adaptive_pricing", "invoice_creation", "tax_id_collection"):
        if has(f"{switch}["):
            needed[switch] = {"enabled": "false"}
    return needed
