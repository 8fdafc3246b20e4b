// The Elements for a card in the shop's own form, and the methods that take them: each answers as
// Stripe.js does, and the shop's server finds what the browser did.

import assert from "node:assert/strict";

import { bare, open, sdk, show } from "./chromium.mjs";

const { SANDBOX_PUBLISHABLE_KEY: key } = process.env;
const stripe = sdk();
const { browser, page, complaints } = await open();
let checks = 0;
const equal = (found, expected, what) => {
  checks += 1;
  assert.deepEqual(found, expected, what);
};

/** A fresh page with an Element in it, as `window.element`, once it is ready. */
async function mount(type, { options = {}, group, account } = {}) {
  await show(page, { html: bare('<form id="form"></form>') });
  await page.evaluate(
    async ({ key, type, options, group, account }) => {
      window.stripe = Stripe(key, account ? { stripeAccount: account } : undefined);
      window.elements = stripe.elements(group);
      window.events = [];
      window.mountOne = (type, options) =>
        new Promise((resolve) => {
          const element = elements.create(type, options);
          const container = document.createElement("div");
          container.id = type;
          document.querySelector("#form").append(container);
          element.on("ready", () => resolve(element));
          element.on("change", (event) => events.push(event));
          element.mount(container);
        });
      window.element = await mountOne(type, options);
    },
    { key, type, options, group, account },
  );
}

const choose = (number) => page.locator(`button[data-card="${number}"], button[data-iban="${number}"]`).evaluate((button) => button.click());

/** Asks in the page; an intent is told by its id and status. */
async function ask(code, value, meanwhile = async () => {}) {
  const asked = page.evaluate(`(async (value) => { ${code} })(${JSON.stringify(value ?? null)})`);
  await Promise.race([meanwhile(), asked]);
  return asked;
}
const authenticate = () => page.locator("#test-source-authorize-3ds").click();
const refuse = () => page.locator("#test-source-fail-3ds").click();

const payment = (more = {}, options) => stripe.paymentIntents.create({ amount: 1999, currency: "eur", payment_method_types: ["card"], ...more }, options);
const status = async ({ id }) => (await stripe.paymentIntents.retrieve(id)).status;

try {
  // ---- The card Element ----
  let intent = await payment();
  await mount("card");
  equal(await page.locator("#card").getAttribute("class"), "StripeElement StripeElement--empty");
  await choose("5555555555554444");
  equal(await page.locator("#card").getAttribute("class"), "StripeElement StripeElement--complete");
  equal(await ask("return events.at(-1)"), { elementType: "card", empty: false, complete: true, error: undefined, brand: "mastercard", value: { postalCode: "12345" } });
  equal(await ask("return elements.getElement('card') === element && elements.getElement('payment') === null"), true);
  let data = "{ payment_method: { card: element, billing_details: { name: 'Jenny Rosen' } }, receipt_email: 'jenny@example.com' }";
  let told = await ask(`return stripe.confirmCardPayment(value, ${data})`, intent.client_secret);
  equal([told.error, told.paymentIntent.id, told.paymentIntent.status], [undefined, intent.id, "succeeded"]);
  let paid = await stripe.paymentIntents.retrieve(intent.id, { expand: ["latest_charge"] });
  equal([paid.receipt_email, paid.latest_charge.billing_details.name, paid.latest_charge.billing_details.address.postal_code], ["jenny@example.com", "Jenny Rosen", "12345"]);
  // A second confirmation is refused by the API.
  told = await ask(`return stripe.confirmCardPayment(value, ${data})`, intent.client_secret);
  equal([told.error.type, told.error.code], ["invalid_request_error", "payment_intent_unexpected_state"]);

  // The flaws come in the order of the fields. A field shows its flaw once the buyer leaves it.
  intent = await payment();
  await mount("card", { options: { hidePostalCode: true } });
  const typed = { "Card number": "4242424242424241", "Expiration date": "12/20", "Security code": "12" };
  for (const [label, text] of Object.entries(typed)) await page.getByLabel(label).fill(text);
  await page.getByLabel("Card number").focus();
  equal(await ask("return events.at(-1).error"), { type: "validation_error", code: "invalid_number", message: "Your card number is invalid." });
  equal(await page.locator("#card").getAttribute("class"), "StripeElement StripeElement--invalid");
  const wanted = [
    ["Card number", "4242424242424242", "invalid_number"],
    ["Expiration date", "1234", "invalid_expiry_year_past"],
    ["Security code", "123", "incomplete_cvc"],
  ];
  for (const [label, text, code] of wanted) {
    told = await ask("return stripe.confirmCardPayment(value, { payment_method: { card: element } })", intent.client_secret);
    equal([told.error.type, told.error.code], ["validation_error", code]);
    await page.getByLabel(label).fill(text);
  }
  equal(await status(intent), "requires_payment_method");
  await page.evaluate("element.update({ disabled: true })");
  equal(await page.getByLabel("Card number").isDisabled(), true);
  await page.evaluate("element.update({ disabled: false }), element.clear()");
  equal(await ask("return [events.at(-1).empty, events.at(-1).complete]"), [true, false]);

  // ---- The card in three Elements ----
  await mount("cardNumber");
  await page.evaluate("mountOne('cardExpiry').then(() => mountOne('cardCvc'))");
  await choose("378282246310005");
  told = await ask("return stripe.confirmCardPayment(value, { payment_method: { card: element } })", intent.client_secret);
  equal(told.paymentIntent?.status, "succeeded", told.error?.message);

  // ---- 3-D Secure ----
  await mount("card");
  await choose("4000002500003155");
  for (const [answer, expected] of [
    [authenticate, "succeeded"],
    [refuse, "requires_payment_method"],
  ]) {
    intent = await payment();
    told = await ask("return stripe.confirmCardPayment(value, { payment_method: { card: element } })", intent.client_secret, answer);
    equal([told.error?.code, await status(intent)], [expected === "succeeded" ? undefined : "payment_intent_authentication_failure", expected]);
  }
  intent = await payment();
  told = await ask("return stripe.confirmCardPayment(value, { payment_method: { card: element } }, { handleActions: false })", intent.client_secret);
  equal(told.paymentIntent.status, "requires_action");
  told = await ask("return stripe.handleNextAction({ clientSecret: value })", intent.client_secret, authenticate);
  equal(told.paymentIntent.status, "succeeded");
  told = await ask("return stripe.handleNextAction({ clientSecret: value }).catch((error) => `${error.name}: ${error.message}`)", intent.client_secret);
  equal(told, "IntegrationError: handleNextAction: The PaymentIntent supplied is not in the requires_action state.");

  // The server confirms, the browser authenticates, and the server confirms again.
  told = await ask("return stripe.createPaymentMethod({ type: 'card', card: element, billing_details: { name: 'Jenny Rosen' } })");
  equal([told.paymentMethod.card.last4, told.paymentMethod.billing_details.name], ["3155", "Jenny Rosen"]);
  intent = await payment({ payment_method: told.paymentMethod.id, confirmation_method: "manual", confirm: true });
  equal(intent.status, "requires_action");
  told = await ask("return stripe.handleCardAction(value)", intent.client_secret, authenticate);
  equal([told.error, told.paymentIntent?.status], [undefined, "requires_confirmation"]);
  equal((await stripe.paymentIntents.confirm(intent.id)).status, "succeeded");

  // ---- Payment methods and tokens ----
  await choose("4242424242424242");
  told = await ask("return stripe.createPaymentMethod({ element, params: { billing_details: { name: 'Jenny Rosen' } } })");
  equal((await payment({ payment_method: told.paymentMethod.id, confirm: true })).status, "succeeded");
  told = await ask("return stripe.createToken(element, { name: 'Jenny Rosen' })");
  equal([told.token.type, told.token.card.last4, told.token.card.name, told.token.card.address_zip], ["card", "4242", "Jenny Rosen", "12345"]);
  intent = await payment();
  told = await ask("return stripe.confirmCardPayment(value.secret, { payment_method: { card: { token: value.token } } })", { secret: intent.client_secret, token: told.token.id });
  equal(told.paymentIntent?.status, "succeeded", told.error?.message);
  intent = await payment();
  told = await ask("return stripe.confirmCardPayment(value, { payment_method: 'pm_card_visa' })", intent.client_secret);
  equal(told.paymentIntent?.status, "succeeded", told.error?.message);
  intent = await payment({ payment_method: "pm_card_visa" });
  told = await ask("return stripe.confirmCardPayment(value)", intent.client_secret);
  equal(told.paymentIntent?.status, "succeeded", told.error?.message);
  told = await ask("return stripe.retrievePaymentIntent(value)", intent.client_secret);
  equal([told.paymentIntent.status, told.paymentIntent.metadata], ["succeeded", undefined]);
  intent = await payment();
  told = await ask("return stripe.confirmPayment({ clientSecret: value, confirmParams: { payment_method: 'pm_card_visa' }, redirect: 'if_required' })", intent.client_secret);
  equal(told.paymentIntent?.status, "succeeded", told.error?.message);

  // ---- SetupIntents ----
  for (const number of ["4242424242424242", "4000002760003184"]) {
    const setup = await stripe.setupIntents.create({ payment_method_types: ["card"] });
    await mount("card");
    await choose(number);
    told = await ask("return stripe.confirmCardSetup(value, { payment_method: { card: element } })", setup.client_secret, number.startsWith("4242") ? undefined : authenticate);
    equal(told.setupIntent?.status, "succeeded", told.error?.message);
    told = await ask("return stripe.retrieveSetupIntent(value)", setup.client_secret);
    equal(told.setupIntent.id, setup.id);
  }
  await mount("payment", { group: { mode: "setup", currency: "eur" } });
  await choose("4242424242424242");
  const setup = await stripe.setupIntents.create({ payment_method_types: ["card"] });
  told = await ask("await elements.submit(); return stripe.confirmSetup({ elements, clientSecret: value, redirect: 'if_required' })", setup.client_secret);
  equal(told.setupIntent?.status, "succeeded", told.error?.message);

  // ---- Elements that come before their intent promise how it will be ----
  const deferred = { mode: "payment", amount: 1999, currency: "eur" };
  const differs = (name, provided, expected) => `The provided ${name} (${provided}) does not match the expected ${name} (${expected}).`;
  for (const [group, more, refusal] of [
    [{}, {}],
    [{ captureMethod: "automatic" }, { capture_method: "automatic_async" }],
    [{ captureMethod: "automatic_async" }, { capture_method: "automatic" }],
    [{ captureMethod: "manual" }, { capture_method: "manual" }],
    [{ setupFutureUsage: "off_session" }, { setup_future_usage: "off_session" }],
    [{ setupFutureUsage: null }, {}],
    [{}, { amount: 2000 }, differs("amount", 2000, 1999)],
    [{}, { currency: "usd" }, differs("currency", "usd", "eur")],
    [{}, { capture_method: "manual" }, differs("capture_method", "manual", "automatic")],
    [{ captureMethod: "manual" }, { capture_method: "automatic" }, differs("capture_method", "automatic", "manual")],
    [{ captureMethod: "manual" }, { capture_method: "automatic_async" }, differs("capture_method", "automatic", "manual")],
    [{}, { setup_future_usage: "off_session" }, differs("setup_future_usage", "off_session", "null")],
    [{ setupFutureUsage: "off_session" }, {}, differs("setup_future_usage", "null", "off_session")],
    [{ setupFutureUsage: "on_session" }, { setup_future_usage: "off_session" }, differs("setup_future_usage", "off_session", "on_session")],
    [{ onBehalfOf: "acct_1" }, { on_behalf_of: "acct_1" }],
    [{}, { on_behalf_of: "acct_1" }, differs("on_behalf_of", "acct_1", "null")],
    [{ onBehalfOf: "acct_1" }, {}, differs("on_behalf_of", "null", "acct_1")],
    [{ onBehalfOf: "acct_1" }, { on_behalf_of: "acct_2" }, differs("on_behalf_of", "acct_2", "acct_1")],
  ]) {
    const what = JSON.stringify([group, more]);
    intent = await payment(more);
    await mount("payment", { group: { ...deferred, ...group } });
    await choose("4242424242424242");
    told = await ask("await elements.submit(); return stripe.confirmPayment({ elements, clientSecret: value, redirect: 'if_required' })", intent.client_secret);
    equal(told.error?.message.startsWith(refusal), refusal && true, `${what}: ${told.error?.message}`);
    const paid = more.capture_method === "manual" ? "requires_capture" : "succeeded";
    equal(await status(intent), refusal ? "requires_payment_method" : paid, what);
  }
  for (const [group, usage, refusal] of [
    [{}, "off_session"],
    [{ setupFutureUsage: "on_session" }, "on_session"],
    [{}, "on_session", differs("usage", "on_session", "off_session")],
    [{ setupFutureUsage: "on_session" }, "off_session", differs("usage", "off_session", "on_session")],
  ]) {
    const promised = await stripe.setupIntents.create({ payment_method_types: ["card"], usage });
    await mount("payment", { group: { mode: "setup", currency: "eur", ...group } });
    await choose("4242424242424242");
    told = await ask("await elements.submit(); return stripe.confirmSetup({ elements, clientSecret: value, redirect: 'if_required' })", promised.client_secret);
    equal(told.error?.message.startsWith(refusal), refusal && true, `${JSON.stringify([group, usage])}: ${told.error?.message}`);
    equal((await stripe.setupIntents.retrieve(promised.id)).status, refusal ? "requires_payment_method" : "succeeded");
  }

  // ---- Details that the page keeps out of the form ----
  const details = { name: "Jenny Rosen", email: "jenny@example.com", phone: null, address: { line1: "1 High Street", line2: "", city: "Bath", state: null, postal_code: "BA1 1AA", country: "GB" } };
  const { city: _, ...cityless } = details.address;
  const notPassed = (path) =>
    `IntegrationError: You specified "never" for fields.billing_details.${path} when creating the payment Element, but did not pass confirmParams.payment_method_data.billing_details.${path} when calling stripe.confirmPayment().`;
  const confirming = (billing_details) =>
    `await elements.submit();
     return stripe.confirmPayment({ elements, clientSecret: value, redirect: 'if_required', confirmParams: { payment_method_data: { billing_details: ${JSON.stringify(billing_details)} } } })
       .catch((error) => ({ error: { message: error.name + ": " + error.message } }));`;
  for (const [billingDetails, given, missing] of [
    ["never", undefined, "name"],
    ["never", { name: "Jenny Rosen" }, "email"],
    ["never", { ...details, phone: undefined }, "phone"],
    ["never", { ...details, address: undefined }, "address"],
    ["never", { ...details, address: cityless }, "address.city"],
    ["never", details],
    [{ name: "never" }, {}, "name"],
    [{ name: "never", address: "if_required" }, { name: "Jenny Rosen" }],
    [{ address: "never" }, {}, "address"],
    [{ address: { country: "never" } }, { address: { postal_code: "BA1 1AA" } }, "address.country"],
    [{ address: { country: "never" } }, { address: { country: "GB" } }],
    ["auto", undefined],
  ]) {
    const what = JSON.stringify([billingDetails, given]);
    intent = await payment();
    await mount("payment", { group: deferred, options: { fields: { billingDetails } } });
    await choose("4242424242424242");
    told = await ask(confirming(given), intent.client_secret);
    equal(told.error?.message.startsWith(missing && notPassed(missing)), missing && true, `${what}: ${told.error?.message}`);
    equal(await status(intent), missing ? "requires_payment_method" : "succeeded", what);
  }
  // A form that does not ask for a name does not miss it, and what the page passes arrives.
  await mount("payment", { group: deferred, options: { fields: { billingDetails: { name: "never" } } } });
  await page.evaluate("element.update({ fields: { billingDetails: 'never' } })");
  intent = await payment({ payment_method_types: ["sepa_debit"] });
  await page.locator("#Tab-sepa_debit").click();
  await page.getByLabel("IBAN").fill("DE89370400440532013000");
  equal([await page.getByLabel("Full name").isVisible(), await page.getByLabel("Email").isVisible()], [false, false]);
  told = await ask(confirming(details), intent.client_secret);
  equal(told.paymentIntent?.status, "processing", told.error?.message);
  paid = await stripe.paymentIntents.retrieve(intent.id, { expand: ["latest_charge"] });
  equal([paid.latest_charge.billing_details.name, paid.latest_charge.billing_details.email], ["Jenny Rosen", "jenny@example.com"]);
  // The other way round: a form that is filled in, or that the buyer cannot change.
  await mount("payment", { group: deferred, options: { readOnly: true, defaultValues: { billingDetails: { name: "Ada", email: "ada@example.com" } } } });
  equal([await page.getByLabel("Card number").isDisabled(), await page.locator("#Field-nameInput").inputValue()], [true, "Ada"]);
  await page.evaluate("element.update({ readOnly: false })");
  equal(await page.getByLabel("Card number").isDisabled(), false);
  await mount("payment", { group: { ...deferred, paymentMethodCreation: "manual" }, options: { fields: { billingDetails: { name: "never" } } } });
  await choose("4242424242424242");
  told = await ask("await elements.submit(); return stripe.createPaymentMethod({ elements }).catch((error) => error.message)");
  assert.match(told, /^You specified "never" for fields\.billing_details\.name .* did not pass params\.billing_details\.name when calling stripe\.createPaymentMethod\(\)\./);

  // ---- A bank account ----
  await mount("iban", { options: { supportedCountries: ["SEPA"] } });
  await choose("DE89370400440532013000");
  intent = await payment({ payment_method_types: ["sepa_debit"] });
  data = "{ payment_method: { sepa_debit: element, billing_details: { name: 'Jenny Rosen', email: 'jenny@example.com' } } }";
  told = await ask(`return stripe.confirmSepaDebitPayment(value, ${data})`, intent.client_secret);
  equal(told.paymentIntent?.status, "processing", told.error?.message);

  // ---- The Payment Element makes a payment method for the server ----
  await mount("payment", { group: { mode: "payment", amount: 1999, currency: "eur", paymentMethodCreation: "manual" } });
  await choose("4242424242424242");
  told = await ask("await elements.submit(); return stripe.createPaymentMethod({ elements, params: { billing_details: { name: 'Jenny Rosen' } } })");
  equal([told.paymentMethod?.card.last4, told.paymentMethod?.billing_details.name], ["4242", "Jenny Rosen"], told.error?.message);

  // ---- A connected account ----
  const account = { stripeAccount: "acct_connected" };
  intent = await payment({}, account);
  await mount("card", { account: account.stripeAccount });
  await choose("4242424242424242");
  told = await ask("return stripe.confirmCardPayment(value, { payment_method: { card: element } })", intent.client_secret);
  equal(told.paymentIntent?.status, "succeeded", told.error?.message);
  equal((await stripe.paymentIntents.retrieve(intent.id, {}, account)).status, "succeeded");
  await mount("card");
  told = await ask("return stripe.retrievePaymentIntent(value)", intent.client_secret);
  equal(told.error?.code, "resource_missing");

  // ---- No wallet, so a page hides its button ----
  equal(await ask("return stripe.paymentRequest({ country: 'DE', currency: 'eur', total: { label: 'Kettle', amount: 1999 } }).canMakePayment()"), null);

  // ---- Elements that the sandbox does not have ----
  await mount("address", { options: { mode: "billing", defaultValues: { name: "Ada", address: { line1: "1 High Street", city: "Bath", postal_code: "BA1 1AA", country: "GB" } } } });
  await page.waitForFunction("events.length > 0");
  const { elementType, complete, value } = await ask("return events.at(-1)");
  equal([elementType, complete, value.name, value.address.postal_code, value.address.state], ["address", true, "Ada", "BA1 1AA", null]);
  equal((await ask("return element.getValue()")).value.address.country, "GB");
  assert.match(await page.locator("#address").innerText(), /Address Element\s+Placeholder of the sandbox/);
  equal(await ask("element.destroy(); return [elements.getElement('address'), document.querySelector('#address').childElementCount]"), [null, 0]);

  // A card that a form around the Element would send to the shop is a leak.
  await mount("card");
  await choose("4242424242424242");
  equal(await ask("return [...new FormData(document.querySelector('#form')).keys()]"), []);

  equal(complaints.filter((complaint) => !/Failed to load resource.*(400|402|404)/.test(complaint)), [], "the console must be silent");
  console.log(`The classic Elements: ${checks} checks`);
} catch (error) {
  console.error(complaints.join("\n"));
  throw error;
} finally {
  await browser.close();
}
