// The official Node SDK against a sandbox's Checkout Sessions: create, pay on the sandbox's page,
// receive webhooks that the SDK verifies, expire, refuse.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

import { Recorder } from "./schema.mjs";

const require = createRequire(join(process.env.STRIPE_SDK_NODE, "node_modules", "x.js"));
const Stripe = require("stripe");

const { SANDBOX_URL, SANDBOX_SECRET_KEY } = process.env;
const address = new URL(SANDBOX_URL);
const recorder = new Recorder();
const stripe = new Stripe(SANDBOX_SECRET_KEY, {
  host: address.hostname,
  port: address.port,
  protocol: "http",
  maxNetworkRetries: 0,
  httpClient: Stripe.createFetchHttpClient(recorder.fetch),
});
const { sessions } = stripe.checkout;

let checks = 0;
const equal = (found, expected, what) => {
  checks += 1;
  assert.deepEqual(found, expected, what);
};
const refused = async (call, expected) => {
  const error = await call.then(() => undefined, (thrown) => thrown);
  equal(error?.type, "StripeInvalidRequestError", error?.message ?? "not refused");
  for (const [name, value] of Object.entries(expected)) equal(error[name], value, name);
};

const received = [];
const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    received.push(stripe.webhooks.constructEvent(Buffer.concat(chunks), request.headers["stripe-signature"], endpoint.secret));
    response.end();
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const enabled_events = ["completed", "async_payment_succeeded", "async_payment_failed", "expired"].map((name) => `checkout.session.${name}`);
const endpoint = await stripe.webhookEndpoints.create({ url: `http://127.0.0.1:${server.address().port}/webhook`, enabled_events });
const told = async (type, id) => {
  for (let waited = 0; waited < 600; waited += 1) {
    const event = received.find((event) => event.type === type && event.data.object.id === id);
    if (event) return event.data.object;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`no ${type}`);
};

const tea = (more = {}) => ({
  mode: "payment",
  success_url: "https://shop.example/done",
  line_items: [{ price_data: { currency: "usd", unit_amount: 1000, product_data: { name: "Tea" } }, quantity: 2 }],
  ...more,
});
const onPage = async (session, action, form) =>
  (await fetch(`${SANDBOX_URL}/sandbox/checkout/${session}/${action}`, { method: "POST", body: new URLSearchParams(form) })).json();
const pay = (session, number = "4242424242424242") =>
  onPage(session, "pay", {
    email: "jenny@example.com",
    "payment_method_data[type]": "card",
    "payment_method_data[card][number]": number,
    "payment_method_data[card][exp_month]": "12",
    "payment_method_data[card][exp_year]": "2040",
    "payment_method_data[card][cvc]": "123",
  });

// A paid session.
const made = await sessions.create(tea({ metadata: { order_id: "7" }, customer_email: "jenny@example.com" }));
equal([made.status, made.payment_status, made.amount_total], ["open", "unpaid", 2000]);
equal((await pay(made.id)).status, "complete");
const completed = await told("checkout.session.completed", made.id);
equal([completed.payment_status, completed.metadata, completed.url], ["paid", { order_id: "7" }, null]);
const whole = await sessions.retrieve(made.id, { expand: ["payment_intent", "line_items"] });
equal([whole.payment_intent.status, whole.payment_intent.amount_received, whole.line_items.data[0].quantity], ["succeeded", 2000, 2]);

// A delayed payment. It settles only when the test says so, so this ends with the webhook of the
// page.
const later = await sessions.create(tea());
equal((await pay(later.id, "4000000000001000")).status, "complete");
equal((await told("checkout.session.completed", later.id)).payment_status, "unpaid");

// Authorised and captured.
const held = await sessions.create(tea({ payment_intent_data: { capture_method: "manual" } }));
await pay(held.id);
const { payment_intent, payment_status } = await sessions.retrieve(held.id);
equal(payment_status, "unpaid");
equal((await stripe.paymentIntents.capture(payment_intent)).status, "succeeded");
equal((await sessions.retrieve(held.id)).payment_status, "paid");

// 3-D Secure.
const secure = await sessions.create(tea());
const { action } = await pay(secure.id, "4000002500003155");
const back = await fetch(action, { method: "POST", redirect: "manual", body: new URLSearchParams({ outcome: "succeed", source: new URL(action).searchParams.get("source") }) });
equal([back.status, back.headers.get("location").startsWith(secure.url)], [303, true]);
equal((await sessions.retrieve(secure.id)).payment_status, "paid");

// Expired and refused sessions.
const over = await sessions.create(tea());
equal((await sessions.expire(over.id)).status, "expired");
equal((await told("checkout.session.expired", over.id)).payment_status, "unpaid");
await refused(sessions.expire(over.id), { statusCode: 400 });
await refused(sessions.create(tea({ line_items: [] })), { param: "line_items" });
await refused(sessions.create(tea({ mode: "subscription" })), { param: "mode" });
await refused(sessions.retrieve("cs_test_nothing"), { code: "resource_missing", statusCode: 404 });

console.log(`${checks} checks by stripe ${Stripe.PACKAGE_VERSION} for Node, of Checkout Sessions`);
await recorder.publish(stripe);
server.close();
server.closeAllConnections();
