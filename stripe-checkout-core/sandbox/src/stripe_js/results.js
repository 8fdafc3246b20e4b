// How an intent becomes the answer that the page gets.

/** @param {Told} told @returns {Result} */
function asPayment({ intent, error }) {
  return error ? { error } : { paymentIntent: /** @type {PaymentIntent} */ (intent) };
}

/** @param {Told} told @returns {SetupResult} */
function asSetup({ intent, error }) {
  return error ? { error } : { setupIntent: /** @type {SetupIntent} */ (intent) };
}

/**
 * What the client secret names, if it is of the right kind.
 * @param {string} method
 * @param {"pi" | "seti" | undefined} kind
 * @param {unknown} clientSecret
 */
function secretOf(method, kind, clientSecret) {
  const fine = typeof clientSecret === "string" && /^(pi|seti)_\w+?_secret_\w+$/.test(clientSecret) && clientSecret.startsWith(kind ?? "");
  if (fine) return named(clientSecret);
  const begin = clientSecret === undefined || clientSecret === null ? "Missing" : "Invalid";
  // The secret itself is not repeated: this sentence goes to the console, and from there to logs.
  throw new IntegrationError(`${begin} value for ${method} intent secret: value should be a client secret of the form \${id}_secret_\${secret}.`);
}

/**
 * Does what the intent asks the buyer to do next.
 * @param {Told} told
 * @param {Credentials & {client_secret: string}} auth
 * @param {Appearance} [appearance]
 * @returns {Promise<Told>}
 */
async function followed(told, { client_secret }, appearance) {
  const { intent } = told;
  const action = intent?.status === "requires_action" ? intent.next_action : null;
  if (!intent || !action) return told;
  if (action.type === "redirect_to_url" && action.redirect_to_url?.url) {
    location.assign(action.redirect_to_url.url);
    return forever();
  }
  const outcome = await askForAuthentication(intent, appearance);
  return call("POST", `/sandbox/3ds/${intent.id}`, { client_secret, outcome });
}

/**
 * An intent that needs another payment method is an error.
 * @param {Told} told
 * @returns {Told}
 */
function failed(told) {
  const { intent } = told;
  if (!intent || (intent.status !== "requires_payment_method" && intent.status !== "requires_action")) return told;
  const isPayment = "amount" in intent;
  const name = isPayment ? "payment_intent" : "setup_intent";
  const last = isPayment ? intent.last_payment_error : intent.last_setup_error;
  const message = last?.message ?? "We are unable to authenticate your payment method. Please choose a different payment method and try again.";
  const code = last?.code ?? `${name}_authentication_failure`;
  // The fields that a browser is told, and no others.
  const type = /** @type {StripeError["type"]} */ (last?.type ?? "invalid_request_error");
  return { error: { type, code, message, ...(last?.decline_code && { decline_code: last.decline_code }), [name]: intent } };
}

/**
 * Sends the buyer to the page that the confirmation names, if all went well.
 * @param {Told} told
 * @param {"always" | "if_required"} redirect
 * @param {string | undefined} returnUrl
 * @returns {Promise<Told>}
 */
async function arrived(told, redirect, returnUrl) {
  const { intent } = told;
  if (!intent || redirect !== "always" || !returnUrl) return told;
  const name = "amount" in intent ? "payment_intent" : "setup_intent";
  const url = new URL(returnUrl);
  url.searchParams.set(name, intent.id);
  url.searchParams.set(`${name}_client_secret`, String(intent.client_secret));
  url.searchParams.set("redirect_status", intent.status === "processing" ? "pending" : "succeeded");
  location.assign(url);
  return forever();
}

/** The page is being left. @returns {Promise<never>} */
function forever() {
  return new Promise(() => {});
}
