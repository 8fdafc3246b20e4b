#!/usr/bin/env python3
"""The rules about who may depend on whom, asked of cargo and of the sources, not of good intentions.

They keep the promises that a reader of Cargo.toml would otherwise have to believe: verifying webhooks costs no HTTP client and no async-stripe, the core
knows no web framework, an adapter only translates, and no release candidate's type is part of our interface.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
import imports

ROOT = Path(__file__).resolve().parent.parent
CORE = "stripe-checkout-core"
SANDBOX = "stripe-checkout-sandbox"
# Each adapter and its framework.
ADAPTERS = {"stripe-checkout-axum": "axum", "stripe-checkout-actix": "actix-web", "stripe-checkout-rocket": "rocket"}

# Features of the core that an application switches on at its adapter, and that are off by default.
FORWARDED = ("sqlite", "postgres", "metrics", "dotenv", "testing")

FRAMEWORKS = {"axum", "axum-core", "actix-web", "actix-http", "rocket", "rocket_http", "warp", "poem", "tide", "salvo", "tonic"}
STRIPE = re.compile(r"async-stripe.*")
CLIENT = {"hyper", "hyper-rustls", "hyper-tls", "rustls", "native-tls", "openssl", "ring", "reqwest", "ureq", "minijinja"}

# The crates whose types may appear in the core's public signatures: those that are stable.
STABLE = {"std", "core", "alloc", "serde", "serde_core", "serde_json", "bytes", "http"}
# The two SQL inboxes give the handler their connection.
SQL = {"sqlx", "sqlx_core", "sqlx_sqlite", "sqlx_postgres"}
# The parts of each framework. An adapter may show their types, and those of the core.
FRAMEWORK_TYPES = {
    "axum": {"axum", "axum_core"},
    "actix-web": {"actix_web", "actix_http", "actix_service", "actix_router"},
    "rocket": {"rocket", "rocket_http"},
}

# The modules of the lower half of the core, and the files that they must not import.
LOWER = ["amount", "currency", "metadata", "secret", "webhook", "endpoint"]
UPPER = re.compile(r"(stripe|requests|checkout)(\.rs|/.*)")

# Only this file of the core names async-stripe.
WIRE = "stripe/wire.rs"

TOP = re.compile(
    r"Cargo\.(toml|lock)|stripe-checkout-(core|axum|actix|rocket)|examples|README\.md|CHANGELOG\.md|LICENSE-[A-Z0-9-]+|\..+"
)

failures = []


def rule(text, broken):
    """One rule and whatever breaks it."""
    broken = sorted(set(broken))
    print(f"{'FAIL' if broken else 'ok  '} {text}")
    for item in broken:
        print(f"       {item}")
    if broken:
        failures.append(text)


def run(*command, **options):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def crates(package, *flags, edges="normal"):
    """The names of the crates that a package brings along where it is used, not those that only test it."""
    tree = run("cargo", "tree", "--locked", "-p", package, "-e", edges, "--prefix", "none", "--no-dedupe", "-f", "{p}", *flags)
    return {line.split()[0] for line in tree.splitlines() if line} - {package}


def application(package):
    """The crates that a package brings into an application that has nothing else, in the versions of this workspace. Asked of the workspace itself, cargo
    would count what other packages switch on."""
    metadata = json.loads(run("cargo", "metadata", "--locked", "--format-version", "1"))
    version = next(p["version"] for p in metadata["packages"] if p["name"] == package)
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder, "Cargo.toml")
        manifest.write_text(f'[package]\nname = "application"\nedition = "2024"\n[dependencies]\n{package} = "={version}"\n[workspace]\n')
        Path(folder, "src").mkdir()
        Path(folder, "src", "lib.rs").touch()
        shutil.copy(ROOT / "Cargo.lock", folder)
        tree = run("cargo", "tree", "--manifest-path", str(manifest), "-e", "normal,build", "--prefix", "none", "--no-dedupe", "-f", "{p}")
    return {line.split()[0] for line in tree.splitlines() if line} - {"application", package}


def hyper_features(package, *flags):
    """The features that crates of this tree switch on in hyper and hyper-util."""
    tree = run("cargo", "tree", "--locked", "-p", package, "-e", "normal,features", "--prefix", "none", *flags)
    return {match[1] for match in re.finditer(r'^hyper(?:-util)? feature "([\w-]+)"', tree, re.MULTILINE)}


def dependencies(packages):
    core = packages[CORE]

    rule("the core brings no web framework", crates(CORE) & FRAMEWORKS)
    for feature in core["features"]:
        found = crates(CORE, "--no-default-features", "--features", feature) & FRAMEWORKS
        rule(f"the core brings no web framework with its feature {feature}", found)

    alone = crates(CORE, "--no-default-features")
    rule("webhooks alone bring no async-stripe, HTTP client, TLS or templates", [c for c in alone if c in CLIENT or STRIPE.fullmatch(c)])
    rule("metrics come with their feature only", {"metrics"} & crates(CORE, "--no-default-features", "--features", "checkout,sqlite,postgres,testing"))
    ours, peer = crates(CORE, "--no-default-features", edges="normal,build"), application("async-stripe-webhook")
    rule(f"webhooks alone bring fewer crates ({len(ours)}) than async-stripe-webhook ({len(peer)})", ours if len(ours) >= len(peer) else [])

    for adapter, framework in ADAPTERS.items():
        if adapter not in packages:
            continue
        package = packages[adapter]
        direct = {d["name"] for d in package["dependencies"] if d["kind"] is None}
        rule(f"{adapter} depends on the core and {framework} only", direct - {CORE, framework})
        flags = ("--no-default-features", "--features", "webhook")
        # A framework may bring hyper's server, but not its client.
        found = [c for c in crates(adapter, *flags) if c in CLIENT - {"hyper"} or STRIPE.fullmatch(c)]
        found += [f"hyper's {f}" for f in hyper_features(adapter, *flags) if f.startswith("client")]
        rule(f"{adapter} with webhooks alone brings no async-stripe, HTTP client, TLS or templates", found)
        for feature in ("checkout", "intent", "webhook"):
            rule(f"{adapter} has the feature {feature}, on by default", {feature} - set(package["features"].get("default", [])))
        for feature in FORWARDED:
            forwarded = package["features"].get(feature, [])
            rule(f"{adapter} forwards the feature {feature}, and that only", {f"{CORE}/{feature}"} ^ set(forwarded))

    rule("the sandbox brings no async-stripe, TLS or templates: it is no part of what it judges",
         [c for c in crates(SANDBOX) if c in CLIENT - {"hyper"} or STRIPE.fullmatch(c)])
    tests_by_path = [d for d in core["dependencies"] if d["name"] == SANDBOX and (d["kind"] != "dev" or d["req"] != "*")]
    rule("the core knows the sandbox as a test's dependency by its path alone", [d["req"] for d in tests_by_path])

    for example in sorted(name for name in packages if name.startswith("custom-webhook-")):
        found = [c for c in crates(example) if c in CLIENT - {"hyper"} or STRIPE.fullmatch(c)]
        rule(f"{example} hears webhooks alone: no async-stripe, HTTP client, TLS or templates", found)

    exact = [
        f"{p['name']}: {d['name']} {d['req']}"
        for p in packages.values()
        for d in p["dependencies"]
        if STRIPE.fullmatch(d["name"]) and not d["req"].startswith("=")
    ]
    rule("release candidates of async-stripe are pinned exactly", exact)
    versions = {p["version"] for p in packages.values()}
    rule("all packages have one version", versions if len(versions) > 1 else [])
    siblings = [
        f"{p['name']}: {d['name']} {d['req']}"
        for p in packages.values()
        for d in p["dependencies"]
        if (d["name"] == CORE or d["name"] in ADAPTERS) and d["kind"] is None and d["req"] != f"={p['version']}"
    ]
    rule("our crates ask for each other's very version", siblings)
    published = {name for name, p in packages.items() if p["publish"] != []}
    rule("the library is published and the examples are not", published ^ ({CORE, SANDBOX} | (ADAPTERS.keys() & packages.keys())))


def code(path):
    """A file without comments: documentation may name what the code does not use."""
    return re.sub(r"//[^\n]*", "", path.read_text())


def names_of(dependencies):
    """A pattern of the names by which code calls crates of async-stripe."""
    names = (d["name"].removeprefix("async-").replace("-", "_") for d in dependencies if STRIPE.fullmatch(d["name"]) and d["kind"] is None)
    return re.compile(rf"(?<!\w)(?<!crate::)(?<!super::)({'|'.join(sorted(set(names)))})\s*::")


def modules(core):
    imports.self_test()
    source = ROOT / CORE / "src"
    crate = imports.Crate(source)
    edges = crate.edges()
    for module in LOWER:
        files = [name for name in edges if name == f"{module}.rs" or name.startswith(f"{module}/")]
        found = [f"{name}: {target}" for name in files for target in edges[name] if UPPER.fullmatch(target)]
        rule(f"{module} imports neither stripe nor checkout", found or ([] if files else ["there is no such module"]))

    in_circles = imports.circles(edges)
    rule("no file of the core imports itself through others", [f"{name}: {target}" for name, target in in_circles])

    stripes = names_of(core["dependencies"])
    assert stripes.search("use stripe_core::refund::X") and not stripes.search("use stripe_checkout_core::stripe::X")
    named = {path.relative_to(source).as_posix() for path in source.glob("**/*.rs") if stripes.search(imports.code(path.read_text()))}
    rule(f"exactly one file of the core names async-stripe: {WIRE}", named ^ {WIRE})

    text = re.compile(r"\bserde_json\b|\b(400|401|402|403|404|409|413|415|422|429|500|502|503)\b")
    for adapter in filter(lambda adapter: (ROOT / adapter).exists(), ADAPTERS):
        found = [
            f"{file.relative_to(ROOT)}: {match[0]}"
            for file in (ROOT / adapter / "src").glob("**/*.rs")
            for match in text.finditer(code(file))
        ]
        rule(f"{adapter} has no JSON and decides no status", found)


def public_types(package, allowed):
    """Whose types stand in a package's public signatures. rustdoc knows; it is asked in JSON, which is unstable, so only this one process is told to allow it."""
    name = package.replace("-", "_")
    command = "cargo rustdoc --locked --quiet --lib --all-features --package".split() + [package]
    command += "-- -Zunstable-options --output-format json --cap-lints allow".split()
    run(*command, env={**os.environ, "RUSTDOC": str(ROOT / ".ci" / "rustdoc"), "RUSTDOCFLAGS": ""})
    target = json.loads(run("cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"))["target_directory"]
    documented = json.loads((Path(target) / "doc" / f"{name}.json").read_text())
    index, paths = documented["index"], documented["paths"]
    crate_names = {int(number): crate["name"] for number, crate in documented["external_crates"].items()}

    seen, foreign = set(), {}

    def walk(value, owner):
        if isinstance(value, dict):
            # A named type or trait: `{"path": …, "id": …, "args": …}`.
            if "id" in value and "args" in value:
                found = paths.get(str(value["id"]))
                if found and found["crate_id"] != 0:
                    foreign.setdefault(crate_names[found["crate_id"]], set()).add(f"{'::'.join(found['path'])} in {owner}")
            for inner in value.values():
                walk(inner, owner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, owner)

    def visit(identifier, owner):
        item = index.get(str(identifier))
        if item is None or identifier in seen:
            return
        seen.add(identifier)
        (kind, inner), = item["inner"].items()
        if item["visibility"] not in ("public", "default", {"public": None}):
            return
        label = f"{owner}::{item['name']}" if item["name"] else owner
        if kind == "module":
            for child in inner["items"]:
                visit(child, label)
        elif kind == "use":
            if inner["id"] is not None:
                visit(inner["id"], owner)
        elif kind == "impl":
            # The package chooses neither auto traits nor the blanket implementations of other
            # crates.
            if inner["is_synthetic"] or inner["blanket_impl"] is not None:
                return
            walk({key: inner[key] for key in ("generics", "trait", "for")}, label)
            for child in inner["items"]:
                visit(child, label)
        else:
            walk(inner, label)
            for child in [*inner.get("impls", []), *inner.get("items", []), *inner.get("variants", [])] if isinstance(inner, dict) else []:
                visit(child, label)
            fields = inner.get("kind") if isinstance(inner, dict) else None
            if isinstance(fields, dict):
                for shape in fields.values():
                    for child in (shape.get("fields", []) if isinstance(shape, dict) else shape):
                        if child is not None:
                            visit(child, label)

    visit(documented["root"], "")
    assert seen and "core" in foreign, "rustdoc's JSON is not what this script can read"
    broken = [use for crate, uses in foreign.items() if crate not in allowed for use in uses]
    rule(f"{package} shows no type of an unstable crate ({', '.join(sorted(foreign.keys() - {'core', 'alloc', 'std'}))})", broken)


def main():
    metadata = json.loads(run("cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"))
    packages = {package["name"]: package for package in metadata["packages"]}
    top = {path.split("/")[0] for path in run("git", "ls-files").splitlines()}
    inbox = ROOT / CORE / "src" / "fulfillment"
    sql = [inbox / "postgres.rs", *inbox.glob("postgres/*.rs"), *inbox.glob("sql/*.rs")]
    made = [p.name for p in sql if p.name != "statement.rs" and re.search(r"sqlx::query(_as|_scalar)?(\(|::<)", code(p))]
    rule("PostgresInbox makes each statement with parameters in sql/statement.rs, which knows of poolers", made)
    rule("the top level holds what it should", [name for name in top if not TOP.fullmatch(name)])
    dependencies(packages)
    modules(packages[CORE])
    public_types(CORE, STABLE | SQL)
    for adapter, framework in ADAPTERS.items():
        if adapter in packages:
            public_types(adapter, STABLE | {CORE.replace("-", "_")} | FRAMEWORK_TYPES[framework])
    if failures:
        sys.exit(f"{len(failures)} rules are broken")


main()
