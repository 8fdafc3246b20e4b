// Requests to the API of the sandbox.

/**
 * The intent that a client secret names, and its path.
 * @param {unknown} clientSecret
 */
function named(clientSecret) {
  const [, id, kind] = (typeof clientSecret === "string" && /^((pi|seti)_\w+?)_secret_\w+$/.exec(clientSecret)) || [];
  if (!id) throw new IntegrationError("The client secret must be that of a PaymentIntent, pi_…_secret_…, or of a SetupIntent, seti_…_secret_….");
  return kind === "pi" ? { id, name: "payment_intent", path: `/v1/payment_intents/${id}` } : { id, name: "setup_intent", path: `/v1/setup_intents/${id}` };
}

/**
 * Nested values as Stripe's API takes them in a form: `a[b][0]=c`.
 * @param {unknown} value
 * @param {string} [prefix]
 * @returns {Record<string, string>}
 */
function flatten(value, prefix = "") {
  if (value === undefined || value === null) return {};
  if (value instanceof ElementBase) throw new IntegrationError(`An Element cannot stand in ${prefix}.`);
  if (typeof value !== "object") return { [prefix]: String(value) };
  const parts = Object.entries(value).map(([name, part]) => flatten(part, prefix ? `${prefix}[${name}]` : name));
  return Object.assign({}, ...parts);
}

/**
 * @param {string} method
 * @param {string} path
 * @param {Record<string, string>} params
 * @returns {Promise<Either<{answer: any}>>}
 */
async function request(method, path, params) {
  const form = new URLSearchParams(params);
  try {
    const response = await fetch(`${api}${path}${method === "GET" ? `?${form}` : ""}`, {
      method,
      body: method === "GET" ? null : form,
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });
    const answer = await response.json();
    return response.ok ? { answer } : { error: answer.error };
  } catch {
    return { error: { type: "api_connection_error", message: "We are experiencing issues connecting to our payments provider. Please try again." } };
  }
}

/**
 * A request whose answer is the intent.
 * @param {string} method
 * @param {string} path
 * @param {Record<string, string>} params
 * @returns {Promise<Told>}
 */
async function call(method, path, params) {
  const { answer, error } = await request(method, path, params);
  return error ? { error } : { intent: answer };
}
