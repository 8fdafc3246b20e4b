// Asks Stripe's Node SDK about each case on standard input. Prints true (accepted) or false for
// each.
import { readFileSync } from "node:fs";
import Stripe from "stripe";

const { webhooks } = new Stripe("sk_test_unused");

function accepts({ payload, header, secret, now, tolerance }) {
  try {
    const body = Buffer.from(payload, "hex");
    return webhooks.signature.verifyHeader(body, header, secret, tolerance, undefined, now * 1000);
  } catch {
    return false;
  }
}

function signs({ payload, secret, now }) {
  return webhooks.generateTestHeaderString({
    payload: Buffer.from(payload, "hex").toString("utf8"),
    secret,
    timestamp: now,
  });
}

const { cases, toSign } = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify({ verdicts: cases.map(accepts), signed: toSign.map(signs) }));
