// Holds the stand-in against the types that Stripe publishes of Stripe.js. It has each method,
// Element and option. Each method works, or refuses with a sentence that names the sandbox. A new
// name in the types fails this test until the stand-in knows it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { bare, modules, open, show } from "./chromium.mjs";

const { SANDBOX_PUBLISHABLE_KEY } = process.env;

/** The methods that work. `classic.mjs`, `react.mjs` and the tests of the shops call each. */
const WORKS = [
  ...["elements", "registerAppInfo", "paymentRequest", "createEmbeddedCheckoutPage", "confirmPayment", "confirmSetup", "confirmCardPayment", "confirmCardSetup"],
  ...["confirmSepaDebitPayment", "handleCardAction", "handleNextAction", "createPaymentMethod", "createToken", "retrievePaymentIntent"],
  ...["retrieveSetupIntent", "initEmbeddedCheckout", "_registerWrapper"],
];

/** The types of the Elements and of their options, by the name that creates each. */
const TYPES = {
  address: "StripeAddressElement",
  auBankAccount: "StripeAuBankAccountElement",
  card: "StripeCardElement",
  cardCvc: "StripeCardCvcElement",
  cardExpiry: "StripeCardExpiryElement",
  cardNumber: "StripeCardNumberElement",
  contactDetails: "StripeContactDetailsElement",
  currencySelector: "StripeCurrencySelectorElement",
  expressCheckout: "StripeExpressCheckoutElement",
  iban: "StripeIbanElement",
  issuingAddToWalletButton: "StripeIssuingAddToWalletButtonElement",
  issuingCardCopyButton: "StripeIssuingCardCopyButtonElement",
  issuingCardCvcDisplay: "StripeIssuingCardCvcDisplayElement",
  issuingCardExpiryDisplay: "StripeIssuingCardExpiryDisplayElement",
  issuingCardNumberDisplay: "StripeIssuingCardNumberDisplayElement",
  issuingCardPinDisplay: "StripeIssuingCardPinDisplayElement",
  linkAuthentication: "StripeLinkAuthenticationElement",
  linkSignup: "StripeLinkSignupElement",
  payment: "StripePaymentElement",
  paymentForm: "StripeCheckoutForm",
  paymentMethodMessaging: "StripePaymentMethodMessagingElement",
  shippingAddress: "StripeShippingAddressElement",
  taxId: "StripeTaxIdElement",
  terms: "StripeTermsElement",
};

const { browser, page, complaints } = await open();
let found;
try {
  const names = Object.keys(TYPES);
  const html = bare(names.map((name) => `<div id="${name}"></div>`).join(""));
  await show(page, { html });
  found = await page.evaluate(
    async ({ key, works, names }) => {
      const stripe = Stripe(key);
      const methodsOf = (object) => {
        const all = new Set();
        for (let each = Object.getPrototypeOf(object); each !== Object.prototype; each = Object.getPrototypeOf(each)) {
          for (const name of Object.getOwnPropertyNames(each)) if (name !== "constructor" && typeof object[name] === "function") all.add(name);
        }
        return [...all];
      };
      const refusals = {};
      for (const method of methodsOf(stripe)) {
        if (works.includes(method)) continue;
        try {
          await stripe[method]("pi_1_secret_2", {}, {});
          refusals[method] = "works";
        } catch (error) {
          refusals[method] = `${error.name}: ${error.message}`;
        }
      }
      const elements = {};
      const ready = {};
      const group = stripe.elements({ mode: "payment", amount: 1999, currency: "eur" });
      const split = stripe.elements();
      for (const name of names) {
        // These two belong to the same card as the Element `card`.
        const element = (name === "cardNumber" ? split : group).create(name, name === "address" ? { mode: "shipping" } : {});
        elements[name] = methodsOf(element);
        ready[name] = await new Promise((resolve) => {
          element.on("ready", (event) => resolve(event.elementType));
          element.mount(`#${name}`);
        });
      }
      return { methods: methodsOf(stripe), group: methodsOf(group), refusals, elements, ready, options: Stripe.sandbox.options, version: Stripe.version };
    },
    { key: SANDBOX_PUBLISHABLE_KEY, works: WORKS, names },
  );
} finally {
  await browser.close();
}

assert.deepEqual(complaints, [], "the console must be silent");
assert.deepEqual(
  WORKS.filter((name) => !found.methods.includes(name)),
  [],
  "the stand-in lost a method",
);
for (const [method, refusal] of Object.entries(found.refusals)) {
  assert.match(refusal, /^IntegrationError: The sandbox does not have stripe\./, `${method}: ${refusal}`);
  assert.ok(refusal.includes(`stripe.${method}()`), refusal);
}
for (const [name, elementType] of Object.entries(found.ready)) assert.equal(elementType, name);

const union = (names) => names.map((name) => JSON.stringify(name)).join(" | ") || "never";
const code = `
import type * as S from "@stripe/stripe-js";

// The keys of every member of a union, and of every overload.
type Keys<T> = T extends unknown ? keyof T : never;
type Same<What, Wanted, Found> = [Exclude<Wanted, Found>, Exclude<Found, Wanted>] extends [never, never] ? true : [What, "missing", Exclude<Wanted, Found>, "too many", Exclude<Found, Wanted>];
type Has<What, Wanted, Found> = [Exclude<Wanted, Found>] extends [never] ? true : [What, "missing", Exclude<Wanted, Found>];

const methods: Has<"Stripe", keyof S.Stripe, ${union(found.methods)}> = true;
const group: Has<"StripeElements", keyof S.StripeElements, ${union(found.group)}> = true;
const names: Same<"names of Elements", S.StripeElementType, ${union(Object.keys(TYPES))}> = true;
const ofStripe: Same<"options of Stripe()", keyof S.StripeConstructorOptions, ${union(found.options.Stripe)}> = true;
const ofElements: Same<"options of elements()", Keys<S.StripeElementsOptions>, ${union(found.options.elements)}> = true;
const ofEmbedded: Same<"options of Embedded Checkout", keyof S.StripeEmbeddedCheckoutOptions, ${union(found.options.embeddedCheckout)}> = true;
const updates: Has<"options of update()", keyof S.StripeElementsUpdateOptions, ${union(found.options.elements)}> = true;
${Object.entries(TYPES)
  .map(([name, type]) => {
    const element = `const ${name}: Has<"${name}", keyof S.${type}, ${union(found.elements[name])}> = true;`;
    if (!(name in found.options)) return element;
    return `${element}\nconst ${name}Options: Same<"options of ${name}", keyof S.${type}Options, ${union(found.options[name])}> = true;`;
  })
  .join("\n")}
`;
const folder = mkdtempSync(join(tmpdir(), "stripe-js-types-"));
try {
  symlinkSync(modules, join(folder, "node_modules"));
  writeFileSync(join(folder, "walk.ts"), code);
  const options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "preserve", "--lib", "es2022,dom", "--types", ""];
  execFileSync(process.execPath, [join(modules, "typescript/bin/tsc"), ...options, "walk.ts"], { cwd: folder, encoding: "utf8" });
} catch (error) {
  assert.fail(error.stdout || error.message);
} finally {
  rmSync(folder, { recursive: true });
}
assert.deepEqual(
  Object.keys(TYPES).filter((name) => name !== "paymentForm" && !(name in found.options)),
  [],
  "the options of these Elements are unknown",
);
console.log(
  `Types of Stripe.js "${found.version}": ${found.methods.length} methods, of which ${Object.keys(found.refusals).length} refuse; ${Object.keys(TYPES).length} Elements`,
);
