// Checks that the page's scripts run in the oldest browsers that can pay: node browsers.mjs FILE…
//
// A parser of ECMAScript 2020 judges the syntax. The check looks up each global and each member of
// a built-in type in MDN's browser-compat-data. TypeScript names the type of a member, so the check
// finds `[].at()` as well as `AbortSignal.timeout()`. Before it judges the files, it must refuse
// each sample in REFUSED.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

const require = createRequire(import.meta.url);
const acorn = require("acorn");
const ts = require("typescript-api");
const data = require("@mdn/browser-compat-data");

/** The oldest versions that can pay. */
const FLOOR = { safari_ios: "13.4", chrome: "80", firefox: "74" };
/** The file for browsers that are older still. */
const ANCIENT = "old-browser.js";

/** @param {string} left @param {string} right */
function isNewer(left, right) {
  const [a, b] = [left, right].map((version) => version.replace("≤", "").split(".").map(Number));
  for (let place = 0; place < Math.max(a.length, b.length); place += 1) {
    const difference = (a[place] ?? 0) - (b[place] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** Returns the browsers of FLOOR that lack a feature. */
function lacking(feature) {
  return Object.entries(FLOOR).flatMap(([browser, floor]) => {
    const support = [feature.__compat?.support[browser] ?? []].flat();
    const isThere = support.some(({ version_added: added, version_removed: removed, flags, prefix, alternative_name: other }) => {
      return typeof added === "string" && added !== "preview" && !removed && !flags && !prefix && !other && !isNewer(added, floor);
    });
    return isThere || support.length === 0 ? [] : [`${browser} ${floor}`];
  });
}

/** Returns the compatibility data of a member of a type, or of a global. */
function featureOf(type, member) {
  const name = type?.replace(/Constructor$/, "");
  if (!name) return data.javascript.builtins[member] ?? data.api[member] ?? data.api.Window[member];
  const members = data.javascript.builtins[name] ?? data.api[name];
  if (["addEventListener", "removeEventListener", "dispatchEvent"].includes(member)) return members?.EventTarget_inheritance;
  return members?.[member] ?? members?.[`${member}_static`];
}

/** Returns the interface, or the global with static members, that declares a symbol. */
function declaredBy(declaration) {
  for (let node = declaration.parent; node; node = node.parent) {
    if (ts.isInterfaceDeclaration(node) || (ts.isVariableDeclaration(node) && node !== declaration)) return node.name.getText();
  }
  return undefined;
}

/** Returns the names of a type and of all types that it inherits from, the nearest first. */
function lineage(type) {
  const types = type.isUnionOrIntersection() ? type.types : [type];
  return types.flatMap((one) => [one.symbol?.name, ...(one.getBaseTypes?.() ?? []).flatMap(lineage)]).filter(Boolean);
}

/** Returns the faults in the APIs that the files use. */
function judgeApis(files) {
  const options = { allowJs: true, noEmit: true, target: ts.ScriptTarget.ESNext, lib: ["lib.esnext.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"], strict: true, types: [] };
  const program = ts.createProgram(files, options);
  const checker = program.getTypeChecker();
  const faults = [];
  for (const source of program.getSourceFiles().filter(({ fileName }) => files.includes(fileName))) {
    const visit = (node) => {
      ts.forEachChild(node, visit);
      if (!ts.isIdentifier(node)) return;
      const symbol = checker.getSymbolAtLocation(node);
      const declaration = symbol?.declarations?.find((found) => /[\\/]lib\.[^\\/]*\.d\.ts$/.test(found.getSourceFile().fileName));
      if (!declaration) return;
      const access = ts.isPropertyAccessExpression(node.parent) && node.parent.name === node ? node.parent : undefined;
      const owner = declaredBy(declaration);
      // TypeScript's mixins have no compatibility data of their own, so the receiver's type counts.
      const owners = access ? [owner, ...lineage(checker.getApparentType(checker.getNonNullableType(checker.getTypeAtLocation(access.expression))))] : [owner];
      const feature = owners.map((type) => featureOf(type, node.text)).find(Boolean);
      const browsers = feature ? lacking(feature) : [];
      const { line } = source.getLineAndCharacterOfPosition(node.getStart());
      if (browsers.length) faults.push(`${basename(source.fileName)}:${line + 1}: ${owner ? `${owner}.` : ""}${node.text} is not in ${browsers.join(", ")}`);
    };
    visit(source);
  }
  return faults;
}

/** Returns the faults in the syntax of a file. */
function judgeSyntax(file) {
  const faults = [];
  const fault = (token, text) => faults.push(`${basename(file)}:${token.loc.start.line}: ${text} is not in ${FLOOR.safari_ios} of iOS`);
  const onToken = (token) => {
    if (token.type === acorn.tokTypes.regexp && /\(\?<[=!]/.test(token.value.pattern)) fault(token, "looking behind in an expression");
    if (token.type === acorn.tokTypes.num && typeof token.value === "bigint") fault(token, "BigInt");
  };
  try {
    acorn.parse(readFileSync(file, "utf8"), { ecmaVersion: basename(file) === ANCIENT ? 5 : 2020, locations: true, onToken });
  } catch (error) {
    faults.push(`${basename(file)}: ${error.message}`);
  }
  return faults;
}

const judge = (files) => [...files.flatMap(judgeSyntax), ...judgeApis(files)];

const REFUSED = [
  "AbortSignal.timeout(1);",
  "[1].at(-1);",
  "'a'.replaceAll('a', 'b');",
  "let a; a ??= 1;",
  "structuredClone({});",
  "Object.hasOwn({}, 'a');",
  "Promise.any([]);",
  "matchMedia('print').addEventListener('change', () => {});",
  "document.body.replaceChildren();",
  "document.querySelector('p')?.checkVisibility();",
  "document.querySelector('form')?.requestSubmit();",
  "crypto.randomUUID();",
  "1n;",
  "1_000;",
  "/(?<=a)b/;",
  "class A { #b = 1; }",
  "class A { b = 1; }",
  "[3, 1].toSorted();",
];
const TAKEN = [
  "const a = { b: [1] }; a?.b?.map((c) => c ?? 2);",
  "new AbortController().signal.addEventListener('abort', () => {});",
  "document.body.append(document.createElement('p')); addEventListener('pageshow', (event) => event.persisted);",
  "(async () => { for (const [a] of Object.entries({})) await fetch(a); })().catch(() => {});",
];

const folder = mkdtempSync(join(tmpdir(), "browsers-"));
try {
  const written = (kind) => (code, number) => {
    const file = join(folder, `${kind}-${number}.js`);
    // In its own scope, so that the samples share no names.
    writeFileSync(file, `(() => { ${code} })();`);
    return { code, file };
  };
  const refused = REFUSED.map(written("refused"));
  const taken = TAKEN.map(written("taken"));
  const faults = judge([...refused, ...taken].map(({ file }) => file));
  const faultsOf = ({ file }) => faults.filter((fault) => fault.startsWith(`${basename(file)}:`));
  for (const sample of refused) if (faultsOf(sample).length === 0) throw new Error(`the check takes ${sample.code}`);
  for (const sample of taken) if (faultsOf(sample).length > 0) throw new Error(`the check refuses ${sample.code}: ${faultsOf(sample)}`);
} finally {
  rmSync(folder, { recursive: true });
}

const files = process.argv.slice(2);
const faults = judge(files);
for (const fault of faults) console.error(fault);
if (faults.length || files.length === 0) process.exit(1);
console.log(`${files.map((file) => basename(file)).join(", ")}: run in iOS ${FLOOR.safari_ios}, Chrome ${FLOOR.chrome}, Firefox ${FLOOR.firefox}`);
