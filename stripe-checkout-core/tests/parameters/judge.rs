//! Hands requests to `judge.py`, which holds them against the official Python SDK.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;
use stripe_checkout_sandbox::LoggedRequest;

/// Judges these requests: whether all are good, and the judge's words. `None` without an SDK.
pub(crate) fn judge(requests: &[LoggedRequest]) -> Option<(bool, String)> {
    const VARIABLE: &str = "STRIPE_SDK_PYTHON";
    let Some(python) = std::env::var_os(VARIABLE) else {
        assert!(std::env::var("CI").is_err(), "{VARIABLE} is not set");
        println!(
            "skipped: {VARIABLE} is not set, so there is no SDK to ask (see the sandbox's tests/sdk/README.md)"
        );
        return None;
    };
    let lines: String = requests
        .iter()
        .map(|request| {
            let line = json!({
                "method": request.method,
                "path": request.path,
                "query": request.query,
                "form": String::from_utf8_lossy(&request.body),
            });
            format!("{line}\n")
        })
        .collect();
    let mut child = Command::new(python)
        .args(["-c", include_str!("judge.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Some((output.status.success(), said))
}
