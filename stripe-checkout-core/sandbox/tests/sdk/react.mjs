// Stripe's own React wrapper and loader, unmodified, against the stand-in for Stripe.js: the forms
// of a shop pay, and nothing warns in the console.

import assert from "node:assert/strict";

import { modules, open, require, sdk, show } from "./chromium.mjs";

const { SANDBOX_PUBLISHABLE_KEY } = process.env;

const APP = `
  import React, { StrictMode, useState } from "react";
  import { createRoot } from "react-dom/client";
  import { loadStripe } from "@stripe/stripe-js";
  import * as R from "@stripe/react-stripe-js";

  const { useStripe, useElements } = R;
  const stripe = loadStripe(shop.key);

  function Form({ children, pay }) {
    const stripe = useStripe();
    const elements = useElements();
    const [ready, setReady] = useState(false);
    const [said, setSaid] = useState("");
    const submit = async (event) => {
      event.preventDefault();
      const { error, paymentIntent } = await pay(stripe, elements);
      setSaid(error ? "error: " + error.message : paymentIntent.status);
    };
    return (
      <form onSubmit={submit}>
        {children(() => setReady(true))}
        <button id="pay" disabled={!stripe || !ready}>Pay</button>
        <output>{said}</output>
      </form>
    );
  }

  const PAGES = {
    intent: () => (
      <R.Elements stripe={stripe} options={{ clientSecret: shop.secret, appearance: { theme: "stripe" } }}>
        <Form pay={(stripe, elements) => stripe.confirmPayment({ elements, redirect: "if_required" })}>
          {(ready) => <R.PaymentElement options={{ layout: "tabs" }} onReady={ready} />}
        </Form>
      </R.Elements>
    ),
    deferred: () => (
      <R.Elements stripe={stripe} options={{ mode: "payment", amount: 1999, currency: "eur" }}>
        <Form
          pay={async (stripe, elements) => {
            const { error } = await elements.submit();
            return error ? { error } : stripe.confirmPayment({ elements, clientSecret: shop.secret, redirect: "if_required" });
          }}
        >
          {(ready) => (
            <>
              <R.LinkAuthenticationElement />
              <R.AddressElement options={{ mode: "shipping" }} />
              <R.ExpressCheckoutElement onConfirm={() => {}} />
              <R.PaymentElement onReady={ready} />
            </>
          )}
        </Form>
      </R.Elements>
    ),
    card: () => (
      <R.Elements stripe={stripe}>
        <Form pay={(stripe, elements) => stripe.confirmCardPayment(shop.secret, { payment_method: { card: elements.getElement(R.CardElement) } })}>
          {(ready) => <R.CardElement onReady={ready} />}
        </Form>
      </R.Elements>
    ),
    split: () => (
      <R.Elements stripe={stripe}>
        <Form pay={(stripe, elements) => stripe.confirmCardPayment(shop.secret, { payment_method: { card: elements.getElement(R.CardNumberElement) } })}>
          {(ready) => (
            <>
              <R.CardNumberElement />
              <R.CardExpiryElement />
              <R.CardCvcElement onReady={ready} />
            </>
          )}
        </Form>
      </R.Elements>
    ),
    embedded: () => {
      const [shown, setShown] = useState(true);
      const [complete, setComplete] = useState(false);
      const [options] = useState({ fetchClientSecret: async () => shop.secret, onComplete: () => setComplete(true) });
      return (
        <>
          <button id="away" onClick={() => setShown(false)}>Away</button>
          <output>{complete ? "complete" : ""}</output>
          {shown && (
            <R.EmbeddedCheckoutProvider stripe={stripe} options={options}>
              <R.EmbeddedCheckout />
            </R.EmbeddedCheckoutProvider>
          )}
        </>
      );
    },
  };

  const Page = PAGES[shop.page];
  createRoot(document.querySelector("main")).render(<StrictMode><Page /></StrictMode>);
`;

const { outputFiles } = await require("esbuild").build({
  stdin: { contents: APP, loader: "jsx", resolveDir: modules },
  bundle: true,
  write: false,
  define: { "process.env.NODE_ENV": '"development"' },
  logLevel: "error",
});
const app = outputFiles[0].text;

const stripe = sdk();
const { browser, page, complaints } = await open();
let checks = 0;
const equal = (found, expected, what) => {
  checks += 1;
  assert.deepEqual(found, expected, what);
};

async function visit(name, secret) {
  const shop = JSON.stringify({ key: SANDBOX_PUBLISHABLE_KEY, page: name, secret });
  const html = `<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,"><body><main></main><script>var shop = ${shop};</script><script src="/app.js"></script></body></html>`;
  await show(page, { html, scripts: { "/app.js": app } });
}

/** An intent for the page, what the page then says of it, and the intent afterwards. */
async function pay(name, number, more = {}, beside = async () => {}) {
  const intent = await stripe.paymentIntents.create({ amount: 1999, currency: "eur", payment_method_types: ["card"], ...more });
  await visit(name, intent.client_secret);
  await page.locator("#pay:enabled").waitFor();
  const hint = page.locator(".hint summary");
  if (await hint.count()) await hint.first().click();
  else await page.locator("details summary").first().click();
  await page.locator(`button[data-card="${number}"]`).click();
  await page.locator("#pay").click();
  await beside();
  await page.locator("output:not(:empty)").waitFor();
  return { said: await page.locator("output").textContent(), intent: await stripe.paymentIntents.retrieve(intent.id) };
}

try {
  for (const name of ["intent", "deferred", "card", "split"]) {
    const { said, intent } = await pay(name, "5555555555554444");
    equal([name, said, intent.status], [name, "succeeded", "succeeded"]);
    // The name and the address of the other Elements go with the payment.
    if (name === "deferred") {
      equal(intent.shipping?.address?.postal_code, "94103");
      const charge = await stripe.charges.retrieve(intent.latest_charge);
      equal(charge.billing_details.email, "jenny@example.com");
    }
    // The classic Element asks for a postal code by itself.
    if (name === "card") {
      const charge = await stripe.charges.retrieve(intent.latest_charge);
      equal(charge.billing_details.address.postal_code, "12345");
    }
  }
  for (const name of ["intent", "card"]) {
    const declined = await pay(name, "4000000000009995");
    equal([declined.said, declined.intent.status], ["error: Your card has insufficient funds.", "requires_payment_method"]);
    const authenticate = () => page.locator("#test-source-authorize-3ds").click();
    const authenticated = await pay(name, "4000002500003155", {}, authenticate);
    equal([authenticated.said, authenticated.intent.status], ["succeeded", "succeeded"]);
    const refuse = () => page.locator("#test-source-fail-3ds").click();
    const refused = await pay(name, "4000002500003155", {}, refuse);
    equal(refused.intent.status, "requires_payment_method");
    assert.match(refused.said, /^error: We are unable to authenticate your payment method/);
  }
  // An empty form is an error of the form, and nothing is confirmed.
  const unpaid = await stripe.paymentIntents.create({ amount: 1999, currency: "eur", payment_method_types: ["card"] });
  await visit("card", unpaid.client_secret);
  await page.locator("#pay:enabled").click();
  await page.locator("output:not(:empty)").waitFor();
  equal(await page.locator("output").textContent(), "error: Your card number is incomplete.");

  const session = await stripe.checkout.sessions.create({
    mode: "payment",
    ui_mode: "embedded_page",
    redirect_on_completion: "if_required",
    return_url: "https://shop.example/return",
    line_items: [{ quantity: 1, price_data: { currency: "eur", unit_amount: 1999, product_data: { name: "Kettle" } } }],
  });
  await visit("embedded", session.client_secret);
  const frame = page.frameLocator("iframe");
  await frame.getByText("Kettle").first().waitFor();
  await frame.locator("#email").fill("jenny@example.com");
  await frame.locator('button[data-card="4242424242424242"]').click();
  await frame.locator("#name").fill("Jenny Rosen");
  await frame.locator("#pay").click();
  await page.getByText("complete", { exact: true }).waitFor();
  equal((await stripe.checkout.sessions.retrieve(session.id)).payment_status, "paid");
  // Not by the mouse: only what React does with the frame is tried here.
  await page.locator("#away").evaluate((button) => button.click());
  await page.locator("iframe").waitFor({ state: "detached" });
  checks += 1;

  equal(complaints.filter((complaint) => !/Failed to load resource.*402/.test(complaint)), [], "the console must be silent");
  console.log(`The React wrapper: ${checks} checks in ${browser.version()}`);
} catch (error) {
  console.error(complaints.join("\n"), "\n", await page.locator("body").innerText());
  throw error;
} finally {
  await browser.close();
}
