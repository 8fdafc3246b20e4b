// A shop in Flask (`flask/app.py`) that takes cards with the classic card Element: a buyer pays in
// Chromium, and the shop's webhook receives the event.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { open, sdk } from "./chromium.mjs";

const stripe = sdk();

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

const port = await freePort();
const shop = `http://127.0.0.1:${port}`;
const endpoint = await stripe.webhookEndpoints.create({ url: `${shop}/webhook`, enabled_events: ["payment_intent.succeeded", "payment_intent.payment_failed"] });
const app = spawn(process.env.STRIPE_SDK_PYTHON, [fileURLToPath(new URL("flask/app.py", import.meta.url)), String(port)], {
  env: { ...process.env, WEBHOOK_SECRET: endpoint.secret },
  stdio: ["ignore", "pipe", "pipe"],
});
const log = [];
const listening = new Promise((resolve, reject) => {
  createInterface({ input: app.stderr }).on("line", (line) => {
    log.push(line);
    if (line.includes("Running on")) resolve();
  });
  app.once("exit", (code) => reject(new Error(`the shop ended with ${code}: ${log.join("\n")}`)));
});
const received = [];
let tell = () => {};
createInterface({ input: app.stdout }).on("line", (line) => {
  if (!line.startsWith("{")) return;
  received.push(JSON.parse(line));
  tell();
});

/** Waits until the webhook received an event of this type. */
async function webhook(type) {
  const deadline = setTimeout(() => assert.fail(`the shop's webhook did not receive ${type}: ${JSON.stringify(received)}\n${log.join("\n")}`), 20_000);
  for (;;) {
    const event = received.find((event) => event.type === type);
    if (event) {
      clearTimeout(deadline);
      return event;
    }
    await new Promise((resolve) => {
      tell = resolve;
    });
  }
}

let browser;
try {
  await listening;
  const opened = await open();
  browser = opened.browser;
  const { page, complaints } = opened;
  await page.goto(`${shop}/`);
  const card = (number) => page.locator("#card-element").getByLabel("Card number").fill(number);
  // A buyer types, as into Stripe's own frame.
  await card("4000000000000002");
  await page.getByLabel("Expiration date").fill("1234");
  await page.getByLabel("Security code").fill("123");
  await page.getByLabel("Postal code").fill("94103");
  await page.locator("#submit:enabled").click();
  await page.getByText("Your card was declined.").waitFor();
  const failed = await webhook("payment_intent.payment_failed");

  await card("4000002500003155");
  await page.locator("#submit:enabled").click();
  await page.locator("#test-source-authorize-3ds").click();
  await page.locator("#result").waitFor();
  const paid = await webhook("payment_intent.succeeded");
  assert.deepEqual([paid.id, paid.order], [failed.id, "1001"]);
  const intent = await stripe.paymentIntents.retrieve(paid.id, { expand: ["latest_charge"] });
  assert.deepEqual([intent.status, intent.amount_received], ["succeeded", 1400]);
  const { name, address } = intent.latest_charge.billing_details;
  assert.deepEqual([name, address.postal_code], ["Jenny Rosen", "94103"]);
  assert.deepEqual(
    complaints.filter((complaint) => !/Failed to load resource.*402/.test(complaint)),
    [],
    "the console must be silent",
  );
  console.log(`The shop in Flask was paid with the card Element: ${received.map(({ type }) => type).join(", ")}`);
} finally {
  app.removeAllListeners("exit");
  app.kill();
  await browser?.close();
}
