// The official Node SDK against a sandbox: customers, saved cards, SetupIntents, and charges while
// the buyer is away.

import assert from "node:assert/strict";
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
const return_url = "https://shop.example/saved";

let checks = 0;
const equal = (found, expected, what) => {
  checks += 1;
  assert.deepEqual(found, expected, what);
};
const refused = async (kind, call, expected) => {
  let error;
  try {
    await call();
  } catch (thrown) {
    error = thrown;
  }
  equal(error?.type, kind, `${error?.type} instead of ${kind}: ${error?.message}`);
  for (const [name, value] of Object.entries(expected)) equal(error[name], value, `${kind}: ${name}`);
  return error;
};

// Customers.
const ada = await stripe.customers.create({ email: "ada@example.com", metadata: { user: "7" } });
const bob = await stripe.customers.create({ email: "bob@example.com" });
equal((await stripe.customers.retrieve(ada.id)).email, "ada@example.com");
equal((await stripe.customers.update(ada.id, { name: "Ada" })).name, "Ada");
equal((await stripe.customers.search({ query: "metadata['user']:'7'" })).data.map(({ id }) => id), [ada.id]);
await refused("StripeInvalidRequestError", () => stripe.customers.retrieve("cus_nobody"), { code: "resource_missing", statusCode: 404 });

// Attached, listed, detached.
const card = await stripe.paymentMethods.attach("pm_card_visa", { customer: ada.id });
equal(card.customer, ada.id);
equal((await stripe.customers.listPaymentMethods(ada.id)).data.map(({ id }) => id), [card.id]);
equal((await stripe.customers.retrievePaymentMethod(ada.id, card.id)).id, card.id);
await refused("StripeInvalidRequestError", () => stripe.customers.retrievePaymentMethod(bob.id, card.id), { statusCode: 404 });
await refused("StripeInvalidRequestError", () => stripe.paymentMethods.attach(card.id, { customer: bob.id }), { statusCode: 400 });
equal((await stripe.paymentMethods.detach(card.id)).customer, null);
await refused("StripeInvalidRequestError", () => stripe.paymentMethods.detach(card.id), { statusCode: 400 });

// SetupIntents.
const begun = await stripe.setupIntents.create({ customer: ada.id });
equal(begun.status, "requires_payment_method");
const saved = await stripe.setupIntents.confirm(begun.id, { payment_method: "pm_card_visa", return_url });
equal(saved.status, "succeeded");
const declined = await refused(
  "StripeCardError",
  () => stripe.setupIntents.create({ customer: ada.id, confirm: true, payment_method: "pm_card_chargeDeclined", return_url }),
  { code: "card_declined", decline_code: "generic_decline", statusCode: 402 },
);
equal(declined.setup_intent.status, "requires_payment_method");
await refused("StripeInvalidRequestError", () => stripe.setupIntents.cancel(begun.id), { code: "setup_intent_unexpected_state" });
equal((await stripe.setupIntents.cancel(declined.setup_intent.id)).status, "canceled");

// Charges while the buyer is away.
const away = (payment_method, customer = ada.id) =>
  stripe.paymentIntents.create({ amount: 1999, currency: "eur", customer, payment_method, confirm: true, off_session: true });
equal((await away(saved.payment_method)).status, "succeeded");
await refused("StripeInvalidRequestError", () => away(saved.payment_method, bob.id), { statusCode: 400 });
const always = await stripe.paymentMethods.attach("pm_card_authenticationRequired", { customer: ada.id });
const wanted = await refused("StripeCardError", () => away(always.id), {
  code: "authentication_required",
  decline_code: "authentication_required",
  statusCode: 402,
});
equal(wanted.payment_intent.status, "requires_payment_method");
const asked = await stripe.paymentIntents.confirm(wanted.payment_intent.id, { payment_method: always.id, return_url });
equal([asked.status, asked.next_action.type], ["requires_action", "redirect_to_url"]);

// Customer sessions.
const session = await stripe.customerSessions.create({ customer: ada.id, components: { payment_element: { enabled: true } } });
equal([session.object, session.customer, session.components.payment_element.enabled], ["customer_session", ada.id, true]);

equal((await stripe.customers.del(bob.id)).deleted, true);
const types = new Set();
for await (const { type } of stripe.events.list({ limit: 100 })) types.add(type);
for (const type of ["customer.created", "customer.deleted", "payment_method.attached", "payment_method.detached", "setup_intent.succeeded", "setup_intent.setup_failed"]) {
  equal(types.has(type), true, type);
}

console.log(`Node SDK ${Stripe.PACKAGE_VERSION ?? stripe.VERSION ?? ""}: ${checks} checks of customers and saved cards`);
await recorder.publish(stripe);
