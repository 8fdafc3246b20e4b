// Chromium for the tests of the stand-in for Stripe.js. The sandbox answers for
// `https://js.stripe.com`, so the pages and Stripe's packages need no change.

import { createRequire } from "node:module";
import { join } from "node:path";

const { SANDBOX_URL, SANDBOX_SECRET_KEY, STRIPE_SDK_NODE } = process.env;

export const modules = join(STRIPE_SDK_NODE, "node_modules");
export const require = createRequire(join(modules, "x.js"));

const STRIPE_JS = "https://js.stripe.com";

/** Stripe's SDK for Node, as the shop's server would use it. */
export function sdk() {
  const Stripe = require("stripe");
  const address = new URL(SANDBOX_URL);
  return new Stripe(SANDBOX_SECRET_KEY, { host: address.hostname, port: address.port, protocol: "http", maxNetworkRetries: 0 });
}

/** Hands a request to the sandbox and its answer back. */
async function toTheSandbox(route) {
  const request = route.request();
  const { pathname, search } = new URL(request.url());
  const { host: _, ...headers } = request.headers();
  // A page of the sandbox's takes what comes from its own origin only.
  if (headers.origin === STRIPE_JS) headers.origin = new URL(SANDBOX_URL).origin;
  const answer = await fetch(`${SANDBOX_URL}${pathname}${search}`, {
    method: request.method(),
    headers,
    body: request.postDataBuffer() ?? undefined,
    redirect: "manual",
  });
  const body = Buffer.from(await answer.arrayBuffer());
  await route.fulfill({ status: answer.status, headers: Object.fromEntries(answer.headers), body });
}

/** A page, and everything that it complains about in its console. */
export async function open() {
  const browser = await require("playwright-core").chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
      ...["--disable-component-update", "--disable-sync"],
    ],
  });
  const context = await browser.newContext();
  context.setDefaultTimeout(20_000);
  await context.route(`${STRIPE_JS}/**`, toTheSandbox);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["warning", "error"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  return { browser, context, page, complaints };
}

/** Shows a page of a shop, which needs no server. */
export async function show(page, { html, scripts = {} }) {
  await page.unroute("https://shop.example/**");
  await page.route("https://shop.example/**", (route) => {
    const { pathname } = new URL(route.request().url());
    if (scripts[pathname]) return route.fulfill({ contentType: "text/javascript; charset=utf-8", body: scripts[pathname] });
    return route.fulfill({ contentType: "text/html; charset=utf-8", body: pathname === "/" ? html : "<!doctype html><title>Shop</title>" });
  });
  await page.goto("https://shop.example/");
}

/** A page that loads Stripe.js as the older guides say. */
export const bare = (content = "", path = "/endive/stripe.js") =>
  `<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,"><body>${content}<script src="${STRIPE_JS}${path}"></script></body></html>`;
