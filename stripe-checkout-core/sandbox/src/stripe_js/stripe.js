// `Stripe()`, and the object that it returns to the page.

/** Returns the error for a method that the sandbox does not have. @param {string} method */
const absent = (method) =>
  new IntegrationError(`The sandbox does not have stripe.${method}(): it simulates cards, and payments by SEPA Direct Debit. Test this with your own Stripe account in test mode.`);

/** The methods of Stripe.js that return a promise and that the sandbox does not have. */
const ABSENT = [
  ...["AcssDebit", "AffirmPayment", "AfterpayClearpayPayment", "AlipayPayment", "AuBecsDebit", "BancontactPayment", "BilliePayment", "BlikPayment", "BoletoPayment"],
  ...["CashappPayment", "CustomerBalancePayment", "EpsPayment", "FpxPayment", "GiropayPayment", "GrabPayPayment", "IdealPayment", "KlarnaPayment", "KonbiniPayment"],
  ...["MobilepayPayment", "MultibancoPayment", "OxxoPayment", "P24Payment", "PayByBankPayment", "PayNowPayment", "PayPalPayment", "PixPayment", "PromptPayPayment"],
  ...["SofortPayment", "TwintPayment", "UsBankAccount", "WechatPayPayment"],
  ...["AmazonPaySetup", "BacsDebitSetup", "BancontactSetup", "BlikSetup", "CashappSetup", "IdealSetup", "PayPalSetup", "SepaDebitSetup", "SofortSetup"],
]
  // These two names stand for a debit with both kinds of intents.
  .flatMap((name) => (/(Payment|Setup)$/.test(name) ? [`confirm${name}`] : [`confirm${name}Payment`, `confirm${name}Setup`]))
  .concat(
    ...["verifyMicrodepositsForPayment", "verifyMicrodepositsForSetup", "collectBankAccountForPayment", "collectBankAccountForSetup", "createRadarSession"],
    ...["createConfirmationToken", "processOrder", "retrieveOrder", "verifyIdentity", "collectFinancialConnectionsAccounts", "collectBankAccountToken"],
    ...["createEphemeralKeyNonce", "initializePricing", "createFinancialAccountDisclosure", "createIssuingDisclosure"],
    // Methods of older versions of Stripe.js.
    ...["handleCardPayment", "handleCardSetup", "handleFpxPayment", "confirmPaymentIntent", "confirmSetupIntent", "createSource", "retrieveSource", "redirectToCheckout"],
  );

class Stripe {
  /** @type {Credentials} */
  #credentials;

  /** @param {unknown} key @param {Record<string, any>} [options] */
  constructor(key, options = {}) {
    if (typeof key !== "string") throw new IntegrationError("Missing value for Stripe(): apiKey should be a string.");
    if (/^[sr]k_/.test(key)) throw new IntegrationError("You should not use your secret key with Stripe.js.\n\nPlease pass a publishable key instead.");
    if (!key.startsWith("pk_")) throw new IntegrationError("Please call Stripe() with your publishable key: pk_test_….");
    if (key.startsWith("pk_live_")) throw new IntegrationError("This is a sandbox: it refuses live keys. Load Stripe.js from https://js.stripe.com.");
    warnOfUnknown("Stripe", options, OPTIONS.Stripe);
    mustNotHave("Stripe", options, ABSENT_OPTIONS.Stripe);
    const { stripeAccount, apiVersion } = options;
    if (apiVersion !== undefined && (typeof apiVersion !== "string" || !/^\d{4}-\d{2}-\d{2}(\.(?!preview$)[a-z]+)?$/.test(apiVersion))) {
      throw new IntegrationError(`Invalid value for Stripe(): apiVersion should be a version of Stripe's API, such as 2025-09-30.clover. You specified: ${String(apiVersion)}.`);
    }
    if (stripeAccount !== undefined && (typeof stripeAccount !== "string" || !stripeAccount)) {
      throw new IntegrationError(`Invalid value for Stripe(): stripeAccount should be a string. You specified: ${String(stripeAccount)}.`);
    }
    this.#credentials = { key, ...(stripeAccount && { _stripe_account: stripeAccount }) };
  }

  /** The React wrapper and the loader register here. @param {{name: string}} _wrapper */
  _registerWrapper(_wrapper) {}

  /** @param {{name?: unknown}} info */
  registerAppInfo(info) {
    if (typeof info?.name !== "string") throw new IntegrationError("Invalid value for stripe.registerAppInfo(): name should be a string.");
  }

  /** @param {ElementsOptions} [options] */
  elements(options = {}) {
    return new Elements({ ...options }, this.#credentials);
  }

  /**
   * @param {ConfirmOptions} options
   * @returns {Promise<Result>}
   */
  async confirmPayment(options) {
    return asPayment(await this.#confirm("pi", options));
  }

  /**
   * @param {ConfirmOptions} options
   * @returns {Promise<SetupResult>}
   */
  async confirmSetup(options) {
    return asSetup(await this.#confirm("seti", options));
  }

  /**
   * @param {"pi" | "seti"} kind
   * @param {ConfirmOptions} options
   * @returns {Promise<Told>}
   */
  async #confirm(kind, { elements, clientSecret, confirmParams = {}, redirect = "always" }) {
    const [method, mode] = kind === "pi" ? ["confirmPayment()", "payment"] : ["confirmSetup()", "setup"];
    const secret = clientSecret ?? elements?.options.clientSecret;
    const { id, name, path } = named(secret);
    if (!id.startsWith(`${kind}_`)) throw new IntegrationError(`${method} takes the client secret of another kind of intent: ${kind}_…_secret_….`);
    mustBeOneOf(`stripe.${method}`, "redirect", String(redirect), ["always", "if_required"]);
    const returnUrl = confirmParams.return_url;
    if (redirect === "always" && !returnUrl) throw new IntegrationError(`${method}: confirmParams.return_url is required unless redirect is if_required.`);
    if (returnUrl) new URL(returnUrl);
    if (elements && !elements.payment?.isMounted) {
      throw new IntegrationError(`Invalid value for stripe.${method}: elements should have a mounted Payment Element or Express Checkout Element.`);
    }
    if (!elements?.payment) return this.#confirmItself(path, String(secret), confirmParams, redirect);
    const auth = { ...this.#credentials, client_secret: String(secret) };
    const { payment_method_data, ...others } = confirmParams;
    const { billing_details, shipping } = elements.contact(kind);
    const described = { billing_details, ...payment_method_data };
    elements.payment.mustHave(described.billing_details, `stripe.${method}`, "confirmParams.payment_method_data");

    if (elements.options.mode) {
      if (elements.options.mode !== mode) throw new IntegrationError(`${method} needs elements({mode: "${mode}"}).`);
      if (!elements.submitted) throw new IntegrationError(`elements.submit() must be called before stripe.${method}.`);
      const { intent, error } = await call("GET", path, auth);
      if (error) return { error };
      const message = mismatch(elements.options, intent);
      if (message) return { error: { type: "invalid_request_error", message, [name]: intent } };
    } else {
      const error = elements.payment.validate();
      if (error) return { error };
    }

    /** @type {Record<string, string>} */
    const params = { ...auth, ...elements.payment.params(), use_stripe_sdk: "true" };
    Object.assign(params, flatten({ shipping, ...others }));
    if (!params.payment_method) Object.assign(params, flatten(described, "payment_method_data"));
    const confirmed = await call("POST", `${path}/confirm`, params);
    return arrived(failed(await followed(confirmed, auth, elements.options.appearance)), redirect, returnUrl);
  }

  /**
   * Confirms without a form: the page names the payment method, or the intent already has one.
   * @param {string} path
   * @param {string} secret
   * @param {ConfirmParams} confirmParams
   * @param {"always" | "if_required"} redirect
   */
  async #confirmItself(path, secret, confirmParams, redirect) {
    const auth = { ...this.#credentials, client_secret: secret };
    const confirmed = await call("POST", `${path}/confirm`, { ...auth, ...flatten(confirmParams), use_stripe_sdk: "true" });
    return arrived(failed(await followed(confirmed, auth)), redirect, confirmParams.return_url);
  }

  // ---- The classic Elements ----

  /**
   * @param {string} clientSecret
   * @param {ClassicData} [data]
   * @param {ClassicOptions} [options]
   */
  async confirmCardPayment(clientSecret, data, options) {
    return asPayment(await this.#confirmClassic("confirmCardPayment", "pi", "card", clientSecret, data, options));
  }

  /**
   * @param {string} clientSecret
   * @param {ClassicData} [data]
   * @param {ClassicOptions} [options]
   */
  async confirmCardSetup(clientSecret, data, options) {
    return asSetup(await this.#confirmClassic("confirmCardSetup", "seti", "card", clientSecret, data, options));
  }

  /** @param {string} clientSecret @param {ClassicData} [data] */
  async confirmSepaDebitPayment(clientSecret, data) {
    return asPayment(await this.#confirmClassic("confirmSepaDebitPayment", "pi", "sepa_debit", clientSecret, data));
  }

  /**
   * @param {string} method
   * @param {"pi" | "seti"} kind
   * @param {MethodType} type
   * @param {string} clientSecret
   * @param {ClassicData} [data]
   * @param {ClassicOptions} [options]
   * @returns {Promise<Told>}
   */
  async #confirmClassic(method, kind, type, clientSecret, data = {}, { handleActions = true } = {}) {
    const { path } = secretOf(`stripe.${method}`, kind, clientSecret);
    const { payment_method: given, payment_method_options, ...rest } = data;
    const auth = { ...this.#credentials, client_secret: clientSecret };
    /** @type {Record<string, string>} */
    let chosen = {};
    if (typeof given === "string") chosen = { payment_method: given };
    else if (given !== undefined) {
      const { params, error } = methodParams(`stripe.${method}()`, type, given);
      if (error) return { error };
      chosen = flatten(params, "payment_method_data");
    }
    const { cvc, ...cardOptions } = payment_method_options?.card ?? {};
    if (cvc !== undefined) {
      const { params, error } = instrumentParams(`stripe.${method}()`, "cardCvc", cvc);
      if (error) return { error };
      Object.assign(cardOptions, params);
    }
    const methodOptions = payment_method_options && { ...payment_method_options, ...(payment_method_options.card && { card: cardOptions }) };
    const params = {
      ...auth,
      ...chosen,
      ...flatten(methodOptions ?? {}, "payment_method_options"),
      ...flatten(rest),
      // Without this parameter the page itself would have to send the buyer to the bank.
      ...((handleActions || !rest.return_url) && { use_stripe_sdk: "true" }),
    };
    const confirmed = await call("POST", `${path}/confirm`, params);
    if (!handleActions && confirmed.intent?.status === "requires_action") return confirmed;
    return failed(await followed(confirmed, auth));
  }

  /** @param {string} clientSecret */
  async handleCardAction(clientSecret) {
    return asPayment(await this.#handle("stripe.handleCardAction", "pi", clientSecret));
  }

  /** @param {{clientSecret?: string, hashedValue?: string}} options */
  async handleNextAction(options) {
    if (options?.hashedValue !== undefined) throw absent("handleNextAction");
    const told = await this.#handle("stripe.handleNextAction", undefined, options?.clientSecret);
    if (told.error) return { error: told.error };
    return "amount" in told.intent ? { paymentIntent: told.intent } : { setupIntent: told.intent };
  }

  /**
   * @param {string} method
   * @param {"pi" | "seti" | undefined} kind
   * @param {unknown} clientSecret
   */
  async #handle(method, kind, clientSecret) {
    const { path, name } = secretOf(method, kind, clientSecret);
    const auth = { ...this.#credentials, client_secret: String(clientSecret) };
    const told = await call("GET", path, auth);
    if (told.intent && told.intent.status !== "requires_action") {
      const what = name === "payment_intent" ? "PaymentIntent" : "SetupIntent";
      throw new IntegrationError(`${method.replace("stripe.", "")}: The ${what} supplied is not in the requires_action state.`);
    }
    return failed(await followed(told, auth));
  }

  /**
   * Makes a payment method from `{type, card}`, from `{elements, params}`, or from `{element,
   * params}`.
   * @param {Record<string, any>} data
   * @returns {Promise<Either<{paymentMethod: any}>>}
   */
  async createPaymentMethod(data) {
    const method = "stripe.createPaymentMethod()";
    if (typeof data !== "object" || data === null) throw new IntegrationError(`Invalid value for ${method}: data should be an object. You specified: ${String(data)}.`);
    const given = data.elements || data.element ? fromElements(method, data) : fromData(method, data);
    if (given.error) return { error: given.error };
    const { answer, error } = await request("POST", "/v1/payment_methods", { ...this.#credentials, ...given.params });
    return error ? { error } : { paymentMethod: answer };
  }

  /**
   * @param {unknown} element
   * @param {Record<string, any>} [data]
   * @returns {Promise<Either<{token: any}>>}
   */
  async createToken(element, data = {}) {
    if (typeof element === "string") throw new IntegrationError(`The sandbox does not have stripe.createToken("${element}"): it makes tokens of cards only.`);
    if (element instanceof InputElement && element.elementType === "iban") throw new IntegrationError("The sandbox does not have tokens of bank accounts: stripe.createToken() takes a card Element.");
    const { params, error: flaw } = instrumentParams("stripe.createToken()", "card", element);
    if (flaw) return { error: flaw };
    const postal = element instanceof InputElement && element.field("postal");
    const { answer, error } = await request("POST", "/v1/tokens", {
      ...this.#credentials,
      ...flatten({ ...params, ...(postal && { address_zip: postal.value }), ...data }, "card"),
    });
    return error ? { error } : { token: answer };
  }

  /**
   * Shows a Checkout Session in a frame on the page.
   * @param {object} options
   * @param {string} [options.clientSecret]
   * @param {() => Promise<string>} [options.fetchClientSecret]
   * @param {() => void} [options.onComplete]
   */
  async createEmbeddedCheckoutPage(options) {
    warnOfUnknown("createEmbeddedCheckoutPage", options, OPTIONS.embeddedCheckout);
    const { clientSecret, fetchClientSecret, onComplete } = options;
    if (!clientSecret === !fetchClientSecret) throw new IntegrationError("createEmbeddedCheckoutPage(): pass either clientSecret or fetchClientSecret.");
    if (EmbeddedCheckout.current) throw new IntegrationError("You cannot have multiple Embedded Checkout objects.");
    EmbeddedCheckout.current = true;
    try {
      const secret = clientSecret ?? (await fetchClientSecret?.());
      if (typeof secret !== "string" || !/^cs_test_\w+?_secret_\w+$/.test(secret)) throw new IntegrationError("The client secret must be that of an embedded Checkout Session: cs_test_…_secret_….");
      return new EmbeddedCheckout(secret, onComplete);
    } catch (error) {
      EmbeddedCheckout.current = false;
      throw error;
    }
  }

  /**
   * The former name of `createEmbeddedCheckoutPage()`.
   * @param {Parameters<Stripe["createEmbeddedCheckoutPage"]>[0]} options
   */
  initEmbeddedCheckout(options) {
    return this.createEmbeddedCheckoutPage(options);
  }

  /** @returns {never} */
  initCheckoutElementsSdk() {
    throw absent("initCheckoutElementsSdk");
  }

  /** @returns {never} */
  initCheckoutFormSdk() {
    throw absent("initCheckoutFormSdk");
  }

  /**
   * Returns a request without a wallet, so that the page hides its wallet button.
   * @param {Record<string, any>} options
   */
  paymentRequest(options) {
    for (const name of ["country", "currency", "total"]) {
      if (!options?.[name]) throw new IntegrationError(`Missing value for stripe.paymentRequest(): ${name} should be given.`);
    }
    const request = {
      canMakePayment: async () => null,
      show() {
        throw new IntegrationError("The sandbox has no wallet, so stripe.paymentRequest() cannot show one: canMakePayment() gives null.");
      },
      abort() {},
      isShowing: () => false,
      update() {},
      on: () => request,
      once: () => request,
      off: () => request,
    };
    return request;
  }

  /**
   * @param {string} clientSecret
   * @returns {Promise<Result>}
   */
  async retrievePaymentIntent(clientSecret) {
    const { path } = secretOf("stripe.retrievePaymentIntent", "pi", clientSecret);
    return asPayment(await call("GET", path, { ...this.#credentials, client_secret: clientSecret }));
  }

  /**
   * @param {string} clientSecret
   * @returns {Promise<SetupResult>}
   */
  async retrieveSetupIntent(clientSecret) {
    const { path } = secretOf("stripe.retrieveSetupIntent", "seti", clientSecret);
    return asSetup(await call("GET", path, { ...this.#credentials, client_secret: clientSecret }));
  }
}

for (const method of ABSENT) {
  Object.defineProperty(Stripe.prototype, method, {
    configurable: true,
    value: async () => {
      throw absent(method);
    },
  });
}

/** @param {string} key @param {Record<string, any>} [options] */
function create(key, options) {
  return new Stripe(key, options);
}

// The stand-in has a part of Stripe’s interface, so its type is not Stripe’s. Tests compare the
// names of the options with Stripe’s types.
/** @type {any} */ (window).Stripe = Object.assign(create, { version: RELEASE, sandbox: { options: OPTIONS } });
