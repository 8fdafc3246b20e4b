// The calls that Stripe.js refuses or warns of by itself, in the browser and before any request.

import assert from "node:assert/strict";

import { bare, open, sdk, show } from "./chromium.mjs";

const { SANDBOX_PUBLISHABLE_KEY: key, SANDBOX_URL } = process.env;
const stripe = sdk();
const { browser, page, complaints } = await open();
const payment = await stripe.paymentIntents.create({ amount: 1999, currency: "eur", payment_method_types: ["card"] });
const setup = await stripe.setupIntents.create({ payment_method_types: ["card"] });

const SECRETS = { payment: JSON.stringify(payment.client_secret), setup: JSON.stringify(setup.client_secret) };
const DEFERRED = "{ mode: 'payment', amount: 1999, currency: 'eur' }";

/** Each call, and the beginning of the sentence that refuses it. */
const REFUSED = [
  // The key and the account.
  ["Stripe()", "Missing value for Stripe(): apiKey should be a string."],
  ["Stripe('sk_test_sandbox')", "You should not use your secret key with Stripe.js."],
  ["Stripe('rk_test_sandbox')", "You should not use your secret key with Stripe.js."],
  ["Stripe('pk_live_abc')", "This is a sandbox: it refuses live keys."],
  ["Stripe('')", "Please call Stripe() with your publishable key"],
  ["Stripe(key, { stripeAccount: '' })", "Invalid value for Stripe(): stripeAccount"],
  ["Stripe(key, { apiVersion: 'foo' })", "Invalid value for Stripe(): apiVersion"],
  ["Stripe(key, { apiVersion: '2025-09-30.preview' })", "Invalid value for Stripe(): apiVersion"],
  ["Stripe(key, { betas: ['new_thing'] })", "The sandbox does not have the option betas of Stripe()."],
  ["stripe.registerAppInfo({})", "Invalid value for stripe.registerAppInfo(): name"],

  // Elements.
  [`stripe.elements({ clientSecret: ${SECRETS.payment}, mode: 'payment' })`, "Pass either mode or clientSecret to elements(), not both."],
  ["stripe.elements({ clientSecret: 'abc' })", "The client secret must be"],
  ["stripe.elements({ mode: 'pay' })", "Invalid value for elements(): mode should be one of"],
  ["stripe.elements({ mode: 'subscription', amount: 1, currency: 'eur' })", "The sandbox has elements("],
  ["stripe.elements({ mode: 'payment', amount: 19.99, currency: 'eur' })", "elements(): amount must be a whole number"],
  ["stripe.elements({ mode: 'payment', amount: 0, currency: 'eur' })", "elements(): amount must be a whole number"],
  ["stripe.elements({ mode: 'payment', amount: 1999, currency: 'EUR' })", "elements(): currency must be three lower-case letters."],
  ["stripe.elements({ mode: 'payment', amount: 1999, currency: 'eur', captureMethod: 'later' })", "Invalid value for elements(): captureMethod should be one of"],
  ["stripe.elements({ mode: 'payment', amount: 1999, currency: 'eur', setup_future_usage: 'always' })", "Invalid value for elements(): setupFutureUsage should be one of"],
  ["stripe.elements({ mode: 'payment', amount: 1999, currency: 'eur', paymentMethodCreation: 'automatic' })", "Invalid value for elements(): paymentMethodCreation"],
  [`stripe.elements({ ...${DEFERRED}, paymentMethodOptions: { card: {} } })`, "The sandbox does not have the option paymentMethodOptions"],
  [`stripe.elements({ ...${DEFERRED}, paymentMethodConfiguration: 'pmc_1' })`, "The sandbox does not have the option paymentMethodConfiguration"],
  [`stripe.elements({ ...${DEFERRED}, externalPaymentMethodTypes: ['external_paypal'] })`, "The sandbox does not have the option externalPaymentMethodTypes"],
  [`stripe.elements({ ...${DEFERRED}, customPaymentMethods: [{ id: 'cpmt_1' }] })`, "The sandbox does not have the option customPaymentMethods"],
  [`stripe.elements(${DEFERRED}).create('payment', { fields: { billingDetails: 'none' } })`, "Invalid value for elements.create('payment'): fields.billingDetails should be one of"],
  [`stripe.elements(${DEFERRED}).create('payment', { fields: { billingDetails: { email: 'no' } } })`, "Invalid value for elements.create('payment'): fields.billingDetails.email should be one of"],
  [`stripe.elements(${DEFERRED}).create('payment', { fields: { billingDetails: { address: { city: 'if_required' } } } })`, "Invalid value for elements.create('payment'): fields.billingDetails.address.city should be one of"],
  ["stripe.elements().create('payment')", "In order to create a payment element, you must pass a valid PaymentIntent or SetupIntent client secret"],
  ["stripe.elements().create('kard')", "A valid Element name must be provided. Valid Elements are:"],
  // The older Stripe.js has it; this release does not.
  ["stripe.elements().create('paymentRequestButton')", "A valid Element name must be provided. Valid Elements are:"],
  ["stripe.elements().create()", "A valid Element name must be provided. Valid Elements are:"],
  ["stripe.elements().create('card', null)", "Invalid value for elements.create('card'): options should be an object."],
  ["stripe.elements().create('address')", "Invalid value for elements.create('address'): mode should be one of the following strings: shipping, billing."],
  ["twice('card', 'card')", "Can only create one Element of type card"],
  ["twice('card', 'cardNumber')", "Can only create one Element of type card"],
  [`stripe.elements(${DEFERRED}).update({ clientSecret: 'abc' })`, "elements.update() cannot change the clientSecret."],
  [`stripe.elements(${DEFERRED}).update({ amount: -1 })`, "elements(): amount must be a whole number"],
  [`stripe.elements(${DEFERRED}).submit()`, "elements.submit() needs a Payment Element"],
  ["card().mount('#nowhere')", "The selector you specified (#nowhere) applies to no DOM elements that are currently on the page."],
  ["card().mount(undefined)", "Invalid DOM element."],
  ["card().on('ready', 'go')", "You must provide a function as an event handler."],
  ["again((card) => card.mount('#other'))", "This Element is already mounted."],
  ["again((card) => (card.destroy(), card.mount('#place')))", "This Element has already been destroyed."],
  ["again((card) => (card.destroy(), card.destroy()))", "This Element has already been destroyed."],

  // Confirmations.
  ["stripe.confirmCardPayment()", "Missing value for stripe.confirmCardPayment intent secret: value should be a client secret of the form ${id}_secret_${secret}."],
  [`stripe.confirmCardPayment('${payment.id}')`, "Invalid value for stripe.confirmCardPayment intent secret"],
  [`stripe.confirmCardPayment(${SECRETS.setup})`, "Invalid value for stripe.confirmCardPayment intent secret"],
  [`stripe.confirmCardSetup(${SECRETS.payment})`, "Invalid value for stripe.confirmCardSetup intent secret"],
  [`stripe.retrievePaymentIntent(${SECRETS.setup})`, "Invalid value for stripe.retrievePaymentIntent intent secret"],
  ["stripe.handleNextAction({})", "Missing value for stripe.handleNextAction intent secret"],
  [`stripe.handleNextAction({ clientSecret: ${SECRETS.payment} })`, "handleNextAction: The PaymentIntent supplied is not in the requires_action state."],
  [`stripe.handleCardAction(${SECRETS.payment})`, "handleCardAction: The PaymentIntent supplied is not in the requires_action state."],
  [`stripe.handleNextAction({ clientSecret: ${SECRETS.setup} })`, "handleNextAction: The SetupIntent supplied is not in the requires_action state."],
  ["stripe.handleNextAction({ hashedValue: 'abc' })", "The sandbox does not have stripe.handleNextAction()"],
  [`stripe.confirmCardPayment(${SECRETS.payment}, { payment_method: { card: card() } })`, "Invalid value for stripe.confirmCardPayment(): We could not retrieve data from the specified Element."],
  [`stripe.confirmCardPayment(${SECRETS.payment}, { payment_method: { card: { number: '4242424242424242' } } })`, "Invalid value for stripe.confirmCardPayment(): card should be a card Element or an object with a token."],
  [`stripe.confirmCardPayment(${SECRETS.payment}, { payment_method: { billing_details: {} } })`, "Missing value for stripe.confirmCardPayment(): card should be"],
  [`stripe.confirmCardPayment(${SECRETS.payment}, { payment_method: { card: stripe.elements().create('cardExpiry') } })`, "Invalid value for stripe.confirmCardPayment(): card should be a card or cardNumber Element."],
  [`stripe.confirmCardPayment(${SECRETS.payment}, { payment_method: 7 })`, "Invalid value for stripe.confirmCardPayment(): payment_method should be"],
  [`stripe.confirmPayment({ elements: stripe.elements(${DEFERRED}), clientSecret: ${SECRETS.payment}, redirect: 'if_required' })`, "Invalid value for stripe.confirmPayment(): elements should have a mounted Payment Element"],
  [`stripe.confirmPayment({ clientSecret: ${SECRETS.payment} })`, "confirmPayment(): confirmParams.return_url is required unless redirect is if_required."],
  [`stripe.confirmPayment({ clientSecret: ${SECRETS.payment}, redirect: 'never' })`, "Invalid value for stripe.confirmPayment(): redirect should be one of"],
  [`stripe.confirmSetup({ clientSecret: ${SECRETS.setup}, redirect: null })`, "Invalid value for stripe.confirmSetup(): redirect should be one of"],
  [`stripe.confirmSetup({ clientSecret: ${SECRETS.payment}, redirect: 'if_required' })`, "confirmSetup() takes the client secret of another kind of intent"],

  // Payment methods and tokens.
  ["stripe.createPaymentMethod('card', card())", "Invalid value for stripe.createPaymentMethod(): data should be an object."],
  ["stripe.createPaymentMethod({ card: card() })", "Invalid value for stripe.createPaymentMethod(): type should be a string."],
  ["stripe.createPaymentMethod({ type: 'klarna' })", "The sandbox does not have stripe.createPaymentMethod() with the type \"klarna\""],
  [`stripe.createPaymentMethod({ elements: stripe.elements(${DEFERRED}) })`, "Invalid value for stripe.createPaymentMethod(): elements should have a mounted Payment Element."],
  ["stripe.createToken({ number: '4242424242424242' })", "Invalid value for stripe.createToken(): card should be a card Element"],
  ["stripe.createToken('pii', { personal_id_number: '1' })", "The sandbox does not have stripe.createToken(\"pii\")"],
  ["stripe.createToken(stripe.elements().create('iban'))", "The sandbox does not have tokens of bank accounts"],
  ["stripe.paymentRequest({ country: 'DE' })", "Missing value for stripe.paymentRequest(): currency"],

  // Embedded Checkout.
  ["stripe.createEmbeddedCheckoutPage({})", "createEmbeddedCheckoutPage(): pass either clientSecret or fetchClientSecret."],
  [`stripe.createEmbeddedCheckoutPage({ clientSecret: ${SECRETS.payment} })`, "The client secret must be that of an embedded Checkout Session"],
  ["twoCheckouts()", "You cannot have multiple Embedded Checkout objects."],
];

/** Each call, and the parameter that Stripe.js warns of. */
const WARNED = [
  ["Stripe(key, { account: 'acct_1' })", "Stripe() parameter: account"],
  ["stripe.elements({ mode: 'payment', amount: 1999, currency: 'eur', description: 'Kettle' })", "elements() parameter: description"],
  ["stripe.elements().create('card', { appearance: {} })", "create() parameter: appearance"],
  [`stripe.elements(${DEFERRED}).create('payment', { style: {} })`, "create() parameter: style"],
  ["card().update({ colour: 'red' })", "update() parameter: colour"],
];

try {
  await show(page, { html: bare('<div id="place"></div><div id="other"></div><script>window.key = null;</script>') });
  await page.evaluate((key) => {
    window.key = key;
    window.stripe = Stripe(key);
    window.card = () => stripe.elements().create("card");
    window.twice = (one, other) => {
      const elements = stripe.elements();
      elements.create(one);
      elements.create(other);
    };
    window.again = (act) => {
      const element = card();
      element.mount("#place");
      return act(element);
    };
    window.twoCheckouts = async () => {
      const clientSecret = "cs_test_abc_secret_abc";
      const first = await stripe.createEmbeddedCheckoutPage({ clientSecret });
      try {
        await stripe.createEmbeddedCheckoutPage({ clientSecret });
      } finally {
        first.destroy();
        // Another one can follow.
        (await stripe.createEmbeddedCheckoutPage({ clientSecret })).destroy();
      }
    };
  }, key);
  for (const [asked, sentence] of REFUSED) {
    const told = await page.evaluate(`(async () => ${asked})().then(() => "works", (error) => error.name + ": " + error.message)`);
    assert.ok(told.startsWith(`IntegrationError: ${sentence}`), `${asked}\n  ${told}`);
    // A secret in a sentence goes to the console, and from there to logs.
    assert.ok(!told.includes(payment.client_secret.split("_secret_")[1]), told);
  }
  assert.deepEqual(complaints, [], "nothing is refused by a request, or in the console");

  for (const [asked, parameter] of WARNED) {
    await page.evaluate(`void (${asked})`);
    const expected = `warning: [Stripe.js] Unrecognized ${parameter} is not a recognized parameter. This may cause issues with your integration in the future.`;
    assert.deepEqual(complaints.splice(0), [expected], asked);
  }

  /** Mounts a Payment Element, and says whether it is ready. */
  const load = (options) =>
    page.evaluate(async (options) => {
      const payment = stripe.elements(options).create("payment");
      const told = await new Promise((resolve) => {
        for (const name of ["ready", "loaderror"]) payment.on(name, (event) => resolve({ name, code: event.error?.code, message: event.error?.message }));
        payment.mount("#other");
      });
      payment.destroy();
      return told;
    }, options);

  // A CustomerSession and an intent, or Elements, must not both say why a card is saved.
  const customer = await stripe.customers.create({ name: "Jenny Rosen" });
  const session = async (usage) => {
    const features = { payment_method_save: "enabled", ...(usage && { payment_method_save_usage: usage }) };
    return (await stripe.customerSessions.create({ customer: customer.id, components: { payment_element: { enabled: true, features } } })).client_secret;
  };
  const intent = async (usage) => {
    const made = await stripe.paymentIntents.create({ amount: 1999, currency: "eur", customer: customer.id, payment_method_types: ["card"], ...(usage && { setup_future_usage: usage }) });
    return { clientSecret: made.client_secret };
  };
  const deferred = (usage) => ({ mode: "payment", amount: 1999, currency: "eur", ...(usage && { setupFutureUsage: usage }) });
  for (const [group, usage, expected] of [
    [deferred("off_session"), "off_session", "loaderror"],
    [await intent("on_session"), "off_session", "loaderror"],
    [deferred(), "off_session", "ready"],
    [await intent(), "on_session", "ready"],
    [deferred("off_session"), undefined, "ready"],
    [await intent("off_session"), undefined, "ready"],
  ]) {
    const options = { ...group, customerSessionClientSecret: await session(usage) };
    const told = await load(options);
    assert.equal(told.name, expected, JSON.stringify(options));
    const uncaught = complaints.splice(0);
    assert.equal(uncaught.length, expected === "ready" ? 0 : 1, uncaught.join("\n"));
    if (expected === "loaderror") assert.match(told.message, /payment_method_save_usage.*setup_future_usage/);
  }

  // An intent that the browser cannot read is no form to fill in.
  const unknown = await load({ clientSecret: "pi_unknown_secret_unknown" });
  assert.deepEqual([unknown.name, unknown.code], ["loaderror", "resource_missing"]);

  // A wrong CustomerSession is no form without saved payment methods.
  for (const customerSessionClientSecret of ["cuss_unknown_secret_unknown", "", null]) {
    const told = await load({ ...deferred(), customerSessionClientSecret });
    assert.equal(told.name, "loaderror", String(customerSessionClientSecret));
  }

  // Embedded Checkout needs the whole client secret.
  const framed = await stripe.checkout.sessions.create({
    mode: "payment",
    ui_mode: "embedded_page",
    return_url: "https://shop.example/return",
    line_items: [{ quantity: 1, price_data: { currency: "eur", unit_amount: 1999, product_data: { name: "Kettle" } } }],
  });
  for (const [secret, text] of [
    [framed.client_secret, "Kettle"],
    [`${framed.id}_secret_wrong`, `No such checkout.session: '${framed.id}'`],
    [framed.client_secret.slice(0, -1), `No such checkout.session: '${framed.id}'`],
  ]) {
    await page.evaluate(async (clientSecret) => (window.checkout = await stripe.createEmbeddedCheckoutPage({ clientSecret })).mount("#other"), secret);
    await page.frameLocator("iframe").getByText(text).first().waitFor();
    await page.evaluate("checkout.destroy()");
  }
  // Its address is not enough: the shop's customers see the id.
  for (const name of [framed.id, `${framed.id}_secret_wrong`]) {
    const answers = [await fetch(`${SANDBOX_URL}/sandbox/checkout/${name}/state`), await fetch(`${SANDBOX_URL}/sandbox/checkout/${name}/pay`, { method: "POST", body: "email=a@b.example" })];
    assert.deepEqual(answers.map((answer) => answer.status), [404, 404], name);
  }

  // From the release clover on, an intent that is over has no form.
  const made = (more) => stripe.paymentIntents.create({ amount: 1999, currency: "eur", payment_method_types: ["card"], ...more });
  const finished = [
    await made({ payment_method: "pm_card_visa", confirm: true }),
    await made({ payment_method: "pm_card_visa", confirm: true, capture_method: "manual" }),
    await stripe.paymentIntents.cancel((await made()).id),
    await stripe.setupIntents.create({ payment_method_types: ["card"], payment_method: "pm_card_visa", confirm: true }),
    await stripe.setupIntents.cancel((await stripe.setupIntents.create({ payment_method_types: ["card"] })).id),
  ];
  const unpaid = [await made(), await made({ payment_method: "pm_card_visa" }), await stripe.setupIntents.create({ payment_method_types: ["card"] })];
  for (const [path, ending] of [
    ["/v3/", "ready"],
    ["/acacia/stripe.js", "ready"],
    ["/basil/stripe.js", "ready"],
    ["/clover/stripe.js", "loaderror"],
    ["/dahlia/stripe.js", "loaderror"],
    ["/endive/stripe.js", "loaderror"],
  ]) {
    await show(page, { html: bare('<div id="other"></div>', path) });
    await page.evaluate((key) => void (window.stripe = Stripe(key)), key);
    for (const intent of [...finished, ...unpaid]) {
      const told = await load({ clientSecret: intent.client_secret });
      const what = `${path} ${intent.object} ${intent.status}`;
      assert.equal(told.name, finished.includes(intent) ? ending : "ready", what);
      if (told.name === "loaderror") assert.deepEqual([told.code, told.message.includes(intent.status)], [`${intent.object}_unexpected_state`, true], what);
    }
  }
  console.log(`Stripe.js refuses ${REFUSED.length} calls by itself and warns of ${WARNED.length} parameters`);
} finally {
  await browser.close();
}
