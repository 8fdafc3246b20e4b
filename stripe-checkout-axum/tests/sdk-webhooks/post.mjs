// Posts an event that the official Node SDK signed, and then everything that differs from it by one
// bit.

import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.STRIPE_SDK_NODE, "node_modules", "x.js"));
const Stripe = require("stripe");
const stripe = new Stripe("sk_test_of_nobody");

const { WEBHOOK_URL, WEBHOOK_SECRET: secret, ORDER: order } = process.env;
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

const post = (body, header) =>
  new Promise((resolve, reject) => {
    const headers = { "Content-Type": "application/json", "Content-Length": body.length, "Stripe-Signature": header };
    const sent = request(WEBHOOK_URL, { method: "POST", agent, headers }, (answer) => {
      answer.resume();
      answer.on("end", () => resolve(answer.statusCode));
    });
    sent.on("error", reject);
    sent.end(body);
  });
const expect = async (status, body, header, what) => assert.equal(await post(body, header), status, what);

/** Every change of one bit. */
function* flips(data) {
  for (let position = 0; position < data.length; position += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const changed = Buffer.from(data);
      changed[position] ^= 1 << bit;
      yield changed;
    }
  }
}
/**
 * Whether HTTP can carry it: visible ASCII and spaces, and none at the ends, where they mean
 * nothing.
 */
const carried = (header) => header.every((byte) => byte >= 0x20 && byte < 0x7f) && header.toString().trim().length === header.length;

const intent = {
  id: `pi_${order}`,
  object: "payment_intent",
  amount: 1999,
  amount_received: 1999,
  currency: "eur",
  status: "succeeded",
  metadata: { order_id: order },
};
const now = Math.floor(Date.now() / 1000);
const payload = JSON.stringify(
  { id: `evt_${order}`, object: "event", type: "payment_intent.succeeded", created: now, livemode: false, data: { object: intent } },
  null,
  2,
);
const body = Buffer.from(payload);
const header = stripe.webhooks.generateTestHeaderString({ payload, secret });
stripe.webhooks.constructEvent(payload, header, secret);

// The changed deliveries come first: if the shop accepted one of them, it would ship the order too
// early.
let bodies = 0;
for (const changed of flips(body)) {
  await expect(400, changed, header, `the body ${changed}`);
  bodies += 1;
}
let headers = 0;
for (const changed of flips(Buffer.from(header))) {
  if (!carried(changed)) continue;
  await expect(400, body, changed.toString(), `the header ${changed}`);
  headers += 1;
}
for (const cut of [body.subarray(0, -1), Buffer.concat([body, Buffer.from("\n")]), Buffer.alloc(0)]) await expect(400, cut, header, `the body ${cut}`);
await expect(400, body, header.replace("v1=", "v0="), "only another scheme");
await expect(400, body, stripe.webhooks.generateTestHeaderString({ payload, secret: `${secret}x` }), "another secret");
await expect(400, body, stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp: now - 400 }), "too old");

await expect(200, body, header, "what the SDK signed");
await expect(200, body, header, "the same again");
await expect(200, body, stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp: now - 200 }), "signed anew for another attempt");
agent.destroy();

console.log(`Node SDK ${Stripe.PACKAGE_VERSION ?? stripe.VERSION ?? ""}: taken; ${bodies} changed bodies and ${headers} changed headers refused`);
