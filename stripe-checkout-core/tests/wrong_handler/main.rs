//! The compiler's errors for a handler that does not fit the inbox. It is the first error for
//! developers who change from memory to a database.
//!
//! The test calls the compiler directly, with the library that this test was built with. `trybuild`
//! would compile every dependency once more, which takes minutes. The test looks only at the text
//! of this crate, so another compiler's wording breaks nothing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Returns the libraries of this crate's name that cargo has built beside this test, the newest
/// first. There may be others, with other features.
fn libraries(name: &str) -> Vec<PathBuf> {
    let folder = env::current_exe().unwrap().parent().unwrap().to_owned();
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    let begins = format!("lib{name}-");
    let mut libraries: Vec<_> = files
        .filter(|file| {
            let name = file.file_name().into_string().unwrap_or_default();
            name.starts_with(&begins) && name.ends_with(".rlib")
        })
        .map(|file| (file.metadata().unwrap().modified().unwrap(), file.path()))
        .collect();
    libraries.sort();
    libraries.into_iter().rev().map(|(_, path)| path).collect()
}

/// Compiles a program of this folder with a library, and writes nothing but metadata.
fn compile(program: &str, library: &Path, sqlx: &Path) -> Output {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong_handler");
    let out = tempfile::tempdir().unwrap();
    let with = |name: &str, path: &Path| format!("{name}={}", path.display());
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata"])
        .args(["--error-format=json", "--cap-lints=allow"])
        .arg("--out-dir")
        .arg(out.path())
        .args(["--extern", &with("stripe_checkout_core", library)])
        .args(["--extern", &with("sqlx", sqlx)])
        .args(["-L", &with("dependency", library.parent().unwrap())])
        .arg(source.join(program))
        .output()
        .expect("a Rust compiler")
}

/// Returns a library, and the sqlx that it was built with: the pair with which the good program
/// compiles.
fn fitting() -> (PathBuf, PathBuf) {
    let mut said = String::new();
    let sqlx = libraries("sqlx");
    for library in libraries("stripe_checkout_core") {
        for sqlx in &sqlx {
            let output = compile("good.rs", &library, sqlx);
            if output.status.success() {
                return (library, sqlx.clone());
            }
            said = String::from_utf8_lossy(&output.stderr).into_owned();
        }
    }
    panic!("no library that was built with this test compiles good handlers: {said}");
}

/// The text of one error: its message, and its labels and notes.
struct Said {
    message: String,
    with: Vec<String>,
}

fn errors(output: &Output) -> Vec<Said> {
    // As a developer writes the type. The compiler decides whether to name the crate behind it.
    let text = |value: &Value| {
        let text = value.as_str()?;
        Some(text.replace("sqlx_sqlite::connection::", ""))
    };
    let lines = String::from_utf8(output.stderr.clone()).unwrap();
    let errors = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|error| error["code"]["code"] == "E0277")
        .map(|error| {
            let labels = error["spans"].as_array().unwrap();
            let labels = labels.iter().filter_map(|span| text(&span["label"]));
            let notes = error["children"].as_array().unwrap();
            let notes = notes.iter().filter_map(|note| text(&note["message"]));
            Said {
                message: text(&error["message"]).unwrap(),
                with: labels.chain(notes).collect(),
            }
        });
    errors.collect()
}

#[test]
fn a_handler_for_another_inbox_is_told_what_to_write() {
    let (library, sqlx) = fitting();
    let output = compile("wrong.rs", &library, &sqlx);
    assert!(!output.status.success());
    let errors = errors(&output);
    let messages: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "`WithoutDatabase` does not handle payments with the connection `SqliteConnection` of this inbox",
            "`NotAtAll` does not handle payments with the connection `()` of this inbox",
        ]
    );
    let labels = [
        "needs `impl FulfillmentHandler<SqliteConnection> for WithoutDatabase`",
        "needs `impl FulfillmentHandler<()> for NotAtAll`",
    ];
    for (error, label) in errors.iter().zip(labels) {
        let said = |text: &str| error.with.iter().any(|said| said == text);
        assert!(said(label), "{:?}", error.with);
        assert!(
            said(
                "the handler's type parameter is the inbox's `Connection`: `()` for `MemoryInbox`, `sqlx::SqliteConnection` for `SqliteInbox`, `sqlx::PgConnection` for `PostgresInbox`; write `impl<C: Send> FulfillmentHandler<C> for …` to serve every inbox"
            ),
            "{:?}",
            error.with
        );
    }
}
