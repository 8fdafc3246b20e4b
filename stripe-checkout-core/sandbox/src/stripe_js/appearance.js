// The look: the appearance that the page asks for, as custom properties.

const STYLE = `
  .StripeSandbox, .StripeSandbox-dialog {
    --ss-primary: #0570de; --ss-ground: #ffffff; --ss-text: #30313d; --ss-muted: #5f6270; --ss-placeholder: #6d7080;
    --ss-danger: #b3202c; --ss-line: #8a91a0; --ss-radius: 5px; --ss-font: system-ui, sans-serif;
    color: var(--ss-text); font: 400 16px/1.5 var(--ss-font); text-align: start;
  }
  .StripeSandbox.night, .StripeSandbox-dialog.night {
    --ss-primary: #85d996; --ss-ground: #30313d; --ss-text: #ffffff; --ss-muted: #b8bac4; --ss-placeholder: #9a9ca8; --ss-danger: #fe8592;
  }
  .StripeSandbox *, .StripeSandbox-dialog * { box-sizing: border-box; }
  .StripeSandbox fieldset { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; min-width: 0; margin: 0; padding: 0; border: 0; }
  .StripeSandbox fieldset.all { display: block; }
  .StripeSandbox .wide { grid-column: 1 / -1; }
  .StripeSandbox [role="tablist"] { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; margin-bottom: 12px; }
  .StripeSandbox [role="tab"] {
    min-height: 48px; padding: 6px 12px; border: 1px solid var(--ss-line); border-radius: var(--ss-radius);
    background: var(--ss-ground); color: inherit; font: inherit; font-weight: 500; text-align: start; cursor: pointer;
  }
  .StripeSandbox [role="tab"]:hover { border-color: var(--ss-primary); }
  .StripeSandbox [role="tab"][aria-selected="true"] { border-color: var(--ss-primary); box-shadow: 0 0 0 1px var(--ss-primary); color: var(--ss-primary); }
  .StripeSandbox [hidden] { display: none !important; }
  .StripeSandbox .mandate { margin: 0; color: var(--ss-muted); font-size: 13px; }
  .StripeSandbox .notice { padding: 10px 12px; border: 1px dashed var(--ss-line); border-radius: var(--ss-radius); font-size: 14px; }
  .StripeSandbox .notice p { margin: 0; }
  .StripeSandbox .cards { display: grid; gap: 6px; margin-top: 8px; }
  .StripeSandbox .cards button, .StripeSandbox-dialog button {
    min-height: 44px; padding: 6px 10px; border: 1px solid var(--ss-line); border-radius: var(--ss-radius);
    background: var(--ss-ground); color: inherit; font: inherit; text-align: start; cursor: pointer;
  }
  .StripeSandbox .cards button {
    display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 0 12px; font-size: 14px; line-height: 1.35;
  }
  .StripeSandbox .cards button:hover, .StripeSandbox-dialog button:hover { border-color: var(--ss-primary); }
  .StripeSandbox .cards small { color: var(--ss-muted); font-size: 13px; font-variant-numeric: tabular-nums; white-space: nowrap; }
  .StripeSandbox summary { display: flex; align-items: center; min-height: 44px; width: fit-content; color: var(--ss-muted); cursor: pointer; }
  .StripeSandbox summary::before { content: "+"; width: 1.1em; font-weight: 600; }
  .StripeSandbox details[open] summary::before { content: "–"; }
  .StripeSandbox summary::-webkit-details-marker { display: none; }
  .StripeSandbox details { margin-bottom: -6px; }
  .StripeSandbox details .cards { margin: 0 0 6px; }
  .StripeSandbox label { display: block; margin-bottom: 4px; font-size: 14px; font-weight: 500; }
  .StripeSandbox input {
    display: block; width: 100%; min-height: 48px; padding: 10px 12px; border: 1px solid var(--ss-line); border-radius: var(--ss-radius);
    background: var(--ss-ground); color: inherit; font: inherit; font-variant-numeric: tabular-nums;
  }
  .StripeSandbox input::placeholder { color: var(--ss-placeholder); opacity: 1; }
  .StripeSandbox input[aria-invalid="true"] { border-color: var(--ss-danger); box-shadow: 0 0 0 1px var(--ss-danger); }
  .StripeSandbox input:disabled { opacity: .6; }
  .StripeSandbox .saved { display: grid; grid-template-columns: 1fr; gap: 6px; margin: 0 0 12px; }
  .StripeSandbox .saved .row { display: flex; align-items: center; border: 1px solid var(--ss-line); border-radius: var(--ss-radius); background: var(--ss-ground); }
  .StripeSandbox .saved .row:has(:checked) { border-color: var(--ss-primary); box-shadow: 0 0 0 1px var(--ss-primary); }
  .StripeSandbox .saved label {
    display: flex; flex: 1; flex-wrap: wrap; align-items: center; gap: 0 12px; min-height: 48px; margin: 0; padding: 6px 12px; font-size: 16px; cursor: pointer;
  }
  .StripeSandbox .saved small { color: var(--ss-muted); font-size: 14px; font-weight: 400; font-variant-numeric: tabular-nums; }
  .StripeSandbox .saved button {
    min-width: 48px; min-height: 48px; padding: 6px 12px; border: 0; border-radius: var(--ss-radius); background: none; color: var(--ss-muted); font: inherit; font-size: 14px; cursor: pointer;
  }
  .StripeSandbox .saved button:hover { color: var(--ss-danger); text-decoration: underline; }
  .StripeSandbox .keep { display: flex; align-items: center; gap: 12px; min-height: 44px; margin: 0; font-weight: 400; cursor: pointer; }
  .StripeSandbox input[type="radio"], .StripeSandbox input[type="checkbox"] {
    flex: none; width: 20px; min-height: 20px; height: 20px; margin: 0; padding: 0; accent-color: var(--ss-primary);
  }
  .StripeSandbox .error { margin: 4px 0 0; color: var(--ss-danger); font-size: 14px; }
  .StripeSandbox .error:empty { display: none; }
  .StripeSandbox :focus-visible, .StripeSandbox-dialog :focus-visible { outline: 3px solid var(--ss-primary); outline-offset: 1px; }
  .StripeSandbox.inline { font-size: inherit; line-height: 1.4; }
  .StripeSandbox .line { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: center; }
  .StripeSandbox .line input { flex: 1 1 4.5rem; width: auto; min-width: 0; min-height: 28px; padding: 0; border: 0; background: none; }
  .StripeSandbox .line input.number, .StripeSandbox .line input.iban { flex: 4 1 13rem; }
  .StripeSandbox .line input[aria-invalid="true"] { box-shadow: none; color: var(--ss-danger); }
  .StripeSandbox .hint { margin: 4px 0 0; font-size: 13px; }
  .StripeSandbox .hint summary { min-height: 28px; }
  .StripeSandbox .hint .cards { max-height: 15rem; overflow-y: auto; }
  .StripeSandbox .placeholder strong { font-weight: 600; }
  .StripeSandbox .placeholder { color: var(--ss-muted); }
  .StripeSandbox-dialog {
    width: min(30rem, calc(100vw - 32px)); margin: auto; padding: 24px; border: 1px solid var(--ss-line); border-radius: calc(var(--ss-radius) * 2);
    background: var(--ss-ground);
  }
  .StripeSandbox-dialog::backdrop { background: rgb(0 0 0 / .6); }
  .StripeSandbox-dialog h2 { margin: 0 0 8px; font-size: 20px; line-height: 1.3; }
  .StripeSandbox-dialog p { margin: 0 0 8px; }
  .StripeSandbox-dialog .muted { color: var(--ss-muted); font-size: 14px; }
  .StripeSandbox-dialog .choice { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 20px; }
  .StripeSandbox-dialog .choice button { flex: 1 1 10rem; font-weight: 600; text-align: center; }
  .StripeSandbox-dialog .choice .yes { border-color: var(--ss-primary); background: var(--ss-primary); color: var(--ss-ground); }
  .StripeSandbox-dialog button:disabled { opacity: .5; cursor: progress; }
`;
const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);
document.adoptedStyleSheets.push(sheet);

/**
 * @param {HTMLElement} root
 * @param {Appearance | undefined} appearance
 */
function applyAppearance(root, appearance) {
  root.classList.toggle("night", appearance?.theme === "night");
  const variables = appearance?.variables ?? {};
  for (const [property, value] of [
    ["--ss-primary", variables.colorPrimary],
    ["--ss-ground", variables.colorBackground],
    ["--ss-text", variables.colorText],
    ["--ss-muted", variables.colorTextSecondary],
    ["--ss-placeholder", variables.colorTextPlaceholder],
    ["--ss-danger", variables.colorDanger],
    ["--ss-radius", variables.borderRadius],
    ["--ss-font", variables.fontFamily],
  ]) {
    if (!property) continue;
    if (value) root.style.setProperty(property, value);
    else root.style.removeProperty(property);
  }
}

/**
 * An element with attributes and children.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
