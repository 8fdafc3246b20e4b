"""A small shop in Flask, as the tutorials write it: a page with a card Element, a route that makes
the PaymentIntent, and a webhook. The package `stripe` is the published one."""

import json
import os
import sys

import stripe
from flask import Flask, jsonify, render_template, request

stripe.api_key = os.environ["SANDBOX_SECRET_KEY"]
stripe.api_base = os.environ["SANDBOX_URL"]

app = Flask(__name__, template_folder=".")


@app.get("/")
def checkout():
    return render_template("checkout.html", publishable_key=os.environ["SANDBOX_PUBLISHABLE_KEY"])


@app.post("/create-payment-intent")
def create_payment_intent():
    items = request.get_json()["items"]
    intent = stripe.PaymentIntent.create(
        amount=1400 * len(items),
        currency="usd",
        payment_method_types=["card"],
        metadata={"order_id": "1001"},
    )
    return jsonify(clientSecret=intent.client_secret)


@app.post("/webhook")
def webhook():
    try:
        event = stripe.Webhook.construct_event(
            request.get_data(), request.headers["Stripe-Signature"], os.environ["WEBHOOK_SECRET"]
        )
    except (ValueError, stripe.SignatureVerificationError) as error:
        return jsonify(error=str(error)), 400
    intent = event.data.object
    # The test reads what the shop would fulfil.
    print(json.dumps({"type": event.type, "id": intent.id, "order": intent.metadata["order_id"]}), flush=True)
    return jsonify(status="success")


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))
