//! The commands of the text: those of cargo exist, and those of curl do what the text says.

use std::process::Command;

use program::Program;
use serde_json::Value;

use crate::markdown::{Text, examples};

/// Returns the shell lines of the text, and the code between backticks that is a command.
fn commands(text: &Text) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    for block in text.blocks.iter().filter(|block| block.language == "sh") {
        let lines = block.lines.iter().enumerate();
        all.extend(lines.map(|(n, line)| (block.line + 1 + n, line.clone())));
    }
    for (line, span) in &text.spans {
        if span.contains("cargo ") || span.starts_with("stripe ") {
            all.push((*line, span.clone()));
        } else if span.starts_with("-p ") {
            // Found in sentences like "or `-p this`".
            all.push((*line, format!("cargo run {span}")));
        }
    }
    all
}

#[test]
fn every_command_exists() {
    let text = Text::read();
    let packages = packages();
    let mut seen = 0;
    for (line, command) in commands(&text) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let is_setting = |word: &&&str| {
            let name = word.split('=').next().unwrap_or_default();
            word.contains('=') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        };
        let settings = words.iter().take_while(is_setting).count();
        match words[settings..] {
            ["cargo", "run" | "test", "-p", package, ref rest @ ..] => {
                let found = packages.iter().find(|known| known["name"] == package);
                let found = found.unwrap_or_else(|| panic!("line {line}: no package {package}"));
                exists(line, found, words[settings + 1], rest);
            }
            ["cp", from, ".env"] => {
                assert!(examples().join("..").join(from).is_file(), "line {line}")
            }
            ["stripe", "login" | "listen" | "trigger", ..] => {}
            // The tests below run it.
            ["curl", ..] | ["order=$(curl", ..] => {}
            _ => panic!("line {line}: is there such a command? {command}"),
        }
        seen += 1;
    }
    assert!(seen > 15, "where are the commands? {seen}");
}

/// Checks that a package has the target that `cargo run` or `cargo test` names.
fn exists(line: usize, package: &Value, verb: &str, rest: &[&str]) {
    let targets = package["targets"].as_array().expect("targets");
    let of_kind = |kind: &str| {
        let is = |target: &&Value| target["kind"][0] == kind;
        let names = targets.iter().filter(is).map(|target| &target["name"]);
        names.cloned().collect::<Vec<_>>()
    };
    match (verb, rest) {
        ("test", []) => assert!(!of_kind("test").is_empty(), "line {line}"),
        ("run", ["--bin", name, ..]) => {
            assert!(
                of_kind("bin").contains(&(*name).into()),
                "line {line}: {name}"
            );
        }
        ("run", ["--example", name, "--", ..]) => {
            assert!(
                of_kind("example").contains(&(*name).into()),
                "line {line}: {name}"
            );
        }
        ("run", []) => assert_eq!(of_kind("bin").len(), 1, "line {line}: which program?"),
        _ => panic!("line {line}: {rest:?}"),
    }
}

fn packages() -> Vec<Value> {
    let asked = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    let told: Value = serde_json::from_slice(&asked.stdout).expect("JSON");
    told["packages"].as_array().expect("packages").clone()
}

/// Runs the curl commands of a step's section against the step, and returns their output.
///
/// It runs them word for word, except for the port.
#[cfg(unix)]
fn curl(program: &str, path: &str) -> String {
    let text = Text::read();
    let started = format!("cargo run -p tutorial --bin {program}");
    let blocks = || text.blocks.iter();
    let start = blocks().find(|block| block.lines == [started.as_str()]);
    let section = start.expect("the step's command").section;
    let curls = |line: &String| line.contains("curl");
    let script = blocks()
        .find(|block| block.section == section && block.lines.iter().any(curls))
        .expect("a block with curl");
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Program::command(path, folder.path());
    command.env("STRIPE_SANDBOX", "1");
    let step = Program::start(command);
    let script = script
        .lines
        .join("\n")
        .replace("127.0.0.1:3000", step.host());
    assert!(script.contains(step.host()));
    let ran = Command::new("sh")
        .args(["-e", "-c", &script])
        .output()
        .expect("a shell");
    assert!(ran.status.success(), "{script}\n{ran:?}");
    String::from_utf8(ran.stdout).expect("text")
}

#[cfg(unix)]
#[test]
fn who_cheats_in_step_2_pays_the_price() {
    let told = curl("step-2-price", env!("CARGO_BIN_EXE_step-2-price"));
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["amount"], 3998, "{told}");
}

#[cfg(unix)]
#[test]
fn who_asks_twice_in_step_3_gets_one_payment() {
    let told = curl("step-3-once", env!("CARGO_BIN_EXE_step-3-once"));
    let told = serde_json::Deserializer::from_str(&told).into_iter::<Value>();
    let told: Vec<Value> = told.map(|answer| answer.expect("JSON")).collect();
    let [first, second] = told.as_slice() else {
        panic!("two answers: {told:?}");
    };
    assert_eq!(first["clientSecret"], second["clientSecret"]);
    assert_eq!(
        (&first["amount"], &second["amount"]),
        (&3998.into(), &5997.into())
    );
}

#[cfg(unix)]
#[test]
fn who_forges_a_webhook_in_step_4_is_refused() {
    let told = curl("step-4-webhook", env!("CARGO_BIN_EXE_step-4-webhook"));
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["code"], "invalid_webhook", "{told}");
}
