// The official Node SDK against a sandbox: how it handles the sandbox's answers, how it types the
// sandbox's errors, and whether it verifies the sandbox's webhooks. Then everything that the
// sandbox sent is checked against Stripe's published schema.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

import { Recorder } from "./schema.mjs";

const require = createRequire(join(process.env.STRIPE_SDK_NODE, "node_modules", "x.js"));
const Stripe = require("stripe");

const recorder = new Recorder();
const { SANDBOX_URL, SANDBOX_SECRET_KEY, SANDBOX_PUBLISHABLE_KEY } = process.env;
const address = new URL(SANDBOX_URL);
const client = (key = SANDBOX_SECRET_KEY) =>
  new Stripe(key, {
    host: address.hostname,
    port: address.port,
    protocol: "http",
    maxNetworkRetries: 0,
    httpClient: Stripe.createFetchHttpClient(recorder.fetch),
  });
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

// Webhooks: a merchant accepts every webhook that the SDK verifies.
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

// Create, retrieve, update, confirm.
const intent = await create({ metadata: { order_id: "7" }, receipt_email: "a@example.com" });
equal(intent.status, "requires_payment_method");
equal(intent.metadata, { order_id: "7" });
equal((await stripe.paymentIntents.retrieve(intent.id)).client_secret, intent.client_secret);
equal((await stripe.paymentIntents.update(intent.id, { amount: 2500, description: "Two books" })).amount, 2500);
const paid = await stripe.paymentIntents.confirm(intent.id, { payment_method: "pm_card_visa", return_url, expand: ["latest_charge"] });
equal(paid.status, "succeeded");
equal(paid.latest_charge.payment_method_details.card.last4, "4242");

// Declined payments.
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

// 3-D Secure, cancellation, capture, refund.
const secure = await create({ confirm: true, payment_method: "pm_card_authenticationRequired", return_url });
equal(secure.next_action.type, "redirect_to_url");
equal((await stripe.paymentIntents.cancel(secure.id)).status, "canceled");
const held = await create({ capture_method: "manual", confirm: true, payment_method: "pm_card_visa", return_url });
equal((await stripe.paymentIntents.capture(held.id)).amount_received, 1999);
equal((await stripe.refunds.create({ payment_intent: paid.id, amount: 500 })).status, "succeeded");

/** Asks again until the answer has the expected state. */
const until = async (ask, is) => {
  for (;;) {
    const answer = await ask();
    if (is(answer)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};
const pay = (payment_method, params = {}) => create({ confirm: true, payment_method, return_url, ...params });

// A debit of a bank account, which takes days in reality.
const mandate_data = { customer_acceptance: { type: "online", online: { ip_address: "203.0.113.7", user_agent: "Firefox" } } };
await refused("StripeInvalidRequestError", () => pay("pm_sepaDebit_success_de"), { statusCode: 400 });
const debit = await pay("pm_sepaDebit_success_de", { mandate_data });
equal(debit.status, "processing");
const debited = await until(
  () => stripe.paymentIntents.retrieve(debit.id, { expand: ["latest_charge.balance_transaction", "payment_method"] }),
  ({ status }) => status !== "processing",
);
equal([debited.status, debited.latest_charge.balance_transaction.type, debited.payment_method.type], ["succeeded", "payment", "sepa_debit"]);
const mandate = await stripe.mandates.retrieve(debited.latest_charge.payment_method_details.sepa_debit.mandate);
equal([mandate.type, mandate.payment_method], ["single_use", debited.payment_method.id]);
const returned = await pay("pm_sepaDebit_insufficientFunds_de", { mandate_data, setup_future_usage: "off_session" });
const unpaid = await until(() => stripe.paymentIntents.retrieve(returned.id), ({ status }) => status !== "processing");
equal([unpaid.status, unpaid.last_payment_error.code], ["requires_payment_method", "insufficient_funds"]);
const taken = await pay("pm_sepaDebit_disputed_de", { mandate_data });
await until(async () => (await stripe.disputes.list({ payment_intent: taken.id })).data, ([dispute]) => dispute?.status === "lost");
equal((await stripe.refunds.create({ payment_intent: debited.id, amount: 1 })).status, "succeeded");

// Refunds that stay pending or fail. A refund that has succeeded cannot be canceled.
const slow = await pay("pm_card_pendingRefund");
const pending = await stripe.refunds.create({ payment_intent: slow.id, amount: 500, reason: "requested_by_customer", metadata: { case: "7" } });
equal(pending.status, "pending");
const arrived = await until(() => stripe.refunds.retrieve(pending.id), ({ status }) => status !== "pending");
equal([arrived.status, arrived.metadata], ["succeeded", { case: "7" }]);
await refused("StripeInvalidRequestError", () => stripe.refunds.cancel(pending.id), { statusCode: 400 });
const stubborn = await pay("pm_card_refundFail");
const back = await stripe.refunds.create({ payment_intent: stubborn.id });
equal(back.status, "succeeded");
const failed = await until(() => stripe.refunds.retrieve(back.id), ({ status }) => status !== "succeeded");
equal([failed.status, failed.failure_reason], ["failed", "unknown"]);
equal((await stripe.refunds.update(back.id, { metadata: { case: "8" } })).metadata, { case: "8" });
equal((await stripe.refunds.list({ payment_intent: slow.id })).data.length, 1);
const bookings = await stripe.balanceTransactions.list({ source: back.id });
equal(bookings.data.map(({ amount }) => amount), [1999, -1999]);
equal((await stripe.balanceTransactions.retrieve(bookings.data[0].id)).type, "refund_failure");

// Disputes.
const disputeOf = async ({ id }) => (await stripe.disputes.list({ payment_intent: id })).data[0];
const disputed = await pay("pm_card_createDispute");
const dispute = await disputeOf(disputed);
equal([dispute.status, dispute.balance_transactions[0].amount], ["needs_response", -1999]);
await refused("StripeInvalidRequestError", () => stripe.refunds.create({ payment_intent: disputed.id }), { code: "charge_disputed" });
const draft = await stripe.disputes.update(dispute.id, { evidence: { customer_name: "Ada" }, metadata: { case: "9" }, submit: false });
equal([draft.status, draft.evidence.customer_name], ["needs_response", "Ada"]);
const sent = await stripe.disputes.update(dispute.id, { evidence: { uncategorized_text: "winning_evidence" } });
equal(sent.status, "under_review");
const won = await until(() => stripe.disputes.retrieve(dispute.id), ({ status }) => status !== "under_review");
equal([won.status, won.balance_transactions.map(({ amount }) => amount)], ["won", [-1999, 1999]]);
const hopeless = await disputeOf(await pay("pm_card_createDisputeProductNotReceived"));
equal((await stripe.disputes.close(hopeless.id)).status, "lost");
await refused("StripeInvalidRequestError", () => stripe.disputes.close(hopeless.id), { statusCode: 400 });
const inquiry = await disputeOf(await pay("pm_card_createDisputeInquiry"));
equal(inquiry.status, "warning_needs_response");
await stripe.disputes.update(inquiry.id, { evidence: { uncategorized_text: "escalate_inquiry_evidence" } });
await until(() => stripe.disputes.retrieve(inquiry.id, { expand: ["charge", "payment_intent"] }), ({ status }) => status === "needs_response");

// The other objects that can be read.
equal((await stripe.charges.list({ payment_intent: debited.id })).data[0].id, debited.latest_charge.id);
const booked = await until(
  () => stripe.charges.retrieve(paid.latest_charge.id, { expand: ["balance_transaction"] }),
  ({ balance_transaction }) => balance_transaction,
);
equal(booked.balance_transaction.source, paid.latest_charge.id);
equal((await stripe.paymentMethods.retrieve(paid.payment_method)).card.brand, "visa");
equal((await pay("pm_sandboxProcessing".replace("pm_", "pm_card_"))).processing, { type: "card" });
const shipped = { name: "Ada", address: { line1: "1 Road", country: "GB" } };
equal((await create({ shipping: shipped, statement_descriptor_suffix: "BOOKS", setup_future_usage: "on_session" })).shipping.name, "Ada");
const authorized = await pay("pm_card_visa", { capture_method: "manual" });
equal((await stripe.paymentIntents.cancel(authorized.id)).status, "canceled");
const other = await stripe.webhookEndpoints.create({ url: "http://127.0.0.1:9/webhook", enabled_events: ["charge.succeeded"], description: "Another" });
equal((await stripe.webhookEndpoints.update(other.id, { disabled: true })).status, "disabled");
equal((await stripe.webhookEndpoints.retrieve(other.id)).description, "Another");
equal((await stripe.webhookEndpoints.del(other.id)).deleted, true);

// Refused requests.
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
equal(replayed.lastResponse.headers.get("idempotent-replayed"), "true");
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
  recorder.event(JSON.parse(body));
  body[body.length - 3] ^= 1;
  checks += 1;
  assert.throws(() => stripe.webhooks.constructEvent(body, signature, endpoint.secret), { type: "StripeSignatureVerificationError" });
}
server.close();
server.closeAllConnections();
console.log(`Node SDK ${Stripe.PACKAGE_VERSION ?? stripe.VERSION ?? ""}: ${checks} checks, ${received.length} webhooks verified`);

// Everything that the sandbox sent, against Stripe's publications.
await recorder.publish(stripe);
// The check would also find flaws.
const damaged = new Recorder();
for (const body of [{ ...paid, amount: "1999" }, { ...paid, status: "paid" }, (({ currency: _, ...rest }) => rest)(paid)]) {
  damaged.answers = [{ method: "get", path: `/v1/payment_intents/${paid.id}`, status: 200, body: JSON.parse(JSON.stringify(body)) }];
  damaged.events = [{ ...JSON.parse(JSON.stringify(event)), data: { object: damaged.answers[0].body } }];
  assert.equal(damaged.check().flaws.length, 2, "a flaw is not seen");
  // The SDK's types accept any text where only a few words are valid today.
  if (body.status !== "paid") assert.notEqual(damaged.typecheck().flaws.length, 0, "a flaw is not seen by the types");
}
