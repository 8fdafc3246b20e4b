// The official Node SDK against a sandbox: what it does with what the sandbox answers, how it types the sandbox's errors, and whether it verifies the sandbox's
// webhooks.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.STRIPE_SDK_NODE, "node_modules", "x.js"));
const Stripe = require("stripe");

const { SANDBOX_URL, SANDBOX_SECRET_KEY, SANDBOX_PUBLISHABLE_KEY } = process.env;
const address = new URL(SANDBOX_URL);
const client = (key = SANDBOX_SECRET_KEY) =>
  new Stripe(key, { host: address.hostname, port: address.port, protocol: "http", maxNetworkRetries: 0 });
const stripe = client();
const return_url = "https://shop.example/complete";
const create = (params = {}, options = undefined) =>
  stripe.paymentIntents.create({ amount: 1999, currency: "eur", ...params }, options);

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

// Webhooks: what the SDK verifies is genuine to any merchant.
const received = [];
const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    received.push({ body: Buffer.concat(chunks), signature: request.headers["stripe-signature"] });
    response.end();
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const endpoint = await stripe.webhookEndpoints.create({ url: `http://127.0.0.1:${server.address().port}/webhook`, enabled_events: ["*"] });

// Made, read, changed, confirmed.
const intent = await create({ metadata: { order_id: "7" }, receipt_email: "a@example.com" });
equal(intent.status, "requires_payment_method");
equal(intent.metadata, { order_id: "7" });
equal((await stripe.paymentIntents.retrieve(intent.id)).client_secret, intent.client_secret);
equal((await stripe.paymentIntents.update(intent.id, { amount: 2500, description: "Two books" })).amount, 2500);
const paid = await stripe.paymentIntents.confirm(intent.id, { payment_method: "pm_card_visa", return_url, expand: ["latest_charge"] });
equal(paid.status, "succeeded");
equal(paid.latest_charge.payment_method_details.card.last4, "4242");

// Declined.
for (const [payment_method, code, decline_code] of [
  ["pm_card_chargeDeclined", "card_declined", "generic_decline"],
  ["pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"],
  ["pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"],
  ["pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"],
  ["pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"],
]) {
  const declined = await create();
  const error = await refused(
    "StripeCardError",
    () => stripe.paymentIntents.confirm(declined.id, { payment_method, return_url }),
    { code, decline_code, statusCode: 402 },
  );
  equal(error.payment_intent.id, declined.id);
  equal((await stripe.paymentIntents.retrieve(declined.id)).last_payment_error.decline_code, decline_code);
}

// 3-D Secure, canceled, captured, refunded.
const secure = await create({ confirm: true, payment_method: "pm_card_authenticationRequired", return_url });
equal(secure.next_action.type, "redirect_to_url");
equal((await stripe.paymentIntents.cancel(secure.id)).status, "canceled");
const held = await create({ capture_method: "manual", confirm: true, payment_method: "pm_card_visa", return_url });
equal((await stripe.paymentIntents.capture(held.id)).amount_received, 1999);
equal((await stripe.refunds.create({ payment_intent: paid.id, amount: 500 })).status, "succeeded");

// Refused.
await refused("StripeInvalidRequestError", () => stripe.paymentIntents.create({ currency: "eur" }), { code: "parameter_missing", param: "amount" });
await refused("StripeInvalidRequestError", () => create({ amount: 10 }), { code: "amount_too_small", statusCode: 400 });
await refused("StripeInvalidRequestError", () => create({ colour: "red" }), { code: "parameter_unknown", param: "colour" });
await refused("StripeInvalidRequestError", () => stripe.paymentIntents.retrieve("pi_nothing"), { code: "resource_missing", statusCode: 404 });
await refused("StripeInvalidRequestError", () => stripe.paymentIntents.cancel(paid.id), { code: "payment_intent_unexpected_state" });
await refused("StripeAuthenticationError", () => client("sk_test_another").paymentIntents.list(), { statusCode: 401 });
await refused("StripePermissionError", () => client(SANDBOX_PUBLISHABLE_KEY).paymentIntents.list(), { statusCode: 403 });

// Idempotency keys.
const idempotencyKey = "order-7";
const first = await create({}, { idempotencyKey });
const replayed = await create({}, { idempotencyKey });
equal(replayed.id, first.id);
equal(replayed.lastResponse.headers["idempotent-replayed"], "true");
await refused("StripeIdempotencyError", () => create({ amount: 2000 }, { idempotencyKey }), { statusCode: 400 });

// Lists and events.
equal((await stripe.webhookEndpoints.list()).data.map(({ id, secret }) => [id, secret]), [[endpoint.id, undefined]]);
const everything = [];
for await (const each of stripe.paymentIntents.list({ limit: 3 })) everything.push(each.id);
equal(new Set(everything).size, everything.length);
equal(everything.includes(paid.id), true);
const { data } = await stripe.events.list({ types: ["payment_intent.succeeded"], limit: 100 });
const [event] = data.filter((each) => each.data.object.id === paid.id);
equal((await stripe.events.retrieve(event.id)).data.object.status, "succeeded");

// Webhooks.
while (!received.some(({ body }) => body.includes(event.id))) await new Promise((resolve) => setImmediate(resolve));
for (const { body, signature } of received) {
  const verified = stripe.webhooks.constructEvent(body, signature, endpoint.secret);
  equal(verified.object, "event");
  body[body.length - 3] ^= 1;
  checks += 1;
  assert.throws(() => stripe.webhooks.constructEvent(body, signature, endpoint.secret), { type: "StripeSignatureVerificationError" });
}
server.close();
server.closeAllConnections();

console.log(`Node SDK ${Stripe.PACKAGE_VERSION ?? stripe.VERSION ?? ""}: ${checks} checks, ${received.length} webhooks verified`);
