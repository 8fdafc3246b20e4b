//! A `.env` file: only that of the working folder counts, and no error shows a line of it.
//!
//! One test, because the working folder belongs to the whole process.

use std::sync::{Arc, Mutex};

use stripe_checkout_core::{Config, ConfigError, DotEnv};

const KEYS: &str = "STRIPE_SECRET_KEY=sk_test_1\nSTRIPE_PUBLISHABLE_KEY=pk_test_1\n";

/// The lines of the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn only_the_working_folder_is_read() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .init();
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("shop");
    std::fs::create_dir(&folder).unwrap();
    std::env::set_current_dir(&folder).unwrap();
    let missing = ConfigError::Missing {
        variable: "STRIPE_WEBHOOK_SECRET",
    };

    // Another user's file, above.
    let theirs = format!("{KEYS}STRIPE_WEBHOOK_SECRET=whsec_theirs\n");
    std::fs::write(parent.path().join(".env"), &theirs).unwrap();
    assert_eq!(Config::from_dotenv().unwrap_err(), missing);
    assert!(log.0.lock().unwrap().is_empty());

    let file = folder.join(".env");
    let ours =
        format!("\u{feff}OTHER=x\n# a comment\n{KEYS}STRIPE_WEBHOOK_SECRET='whsec_ours'\nPORT=\n");
    std::fs::write(&file, ours).unwrap();
    let config = Config::from_dotenv().unwrap();
    assert_eq!(config.webhook_secrets()[0].expose(), "whsec_ours");
    let variables = DotEnv::read().unwrap();
    assert_eq!(variables.get("OTHER"), Some("x".into()));
    assert_eq!(variables.get("PORT"), None);
    assert_eq!(variables.get("NOWHERE"), None);
    // The environment counts first, and stays as it is.
    assert_eq!(
        variables.get("CARGO_PKG_NAME"),
        std::env::var_os("CARGO_PKG_NAME")
    );
    assert_eq!(std::env::var_os("STRIPE_WEBHOOK_SECRET"), None);
    let name = file.canonicalize().unwrap();
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains(&name.display().to_string()), "{logged}");

    // A file that others can write sends no live key to their host, and cannot allow it.
    let elsewhere = "STRIPE_API_BASE=https://proxy.example\nSTRIPE_ALLOW_OTHER_HOSTS=1\n";
    let live = KEYS.replace("_test_", "_live_");
    let live = format!("{live}STRIPE_WEBHOOK_SECRET=whsec_ours\n{elsewhere}");
    std::fs::write(&file, live).unwrap();
    let other_host = ConfigError::OtherHost {
        variable: "STRIPE_API_BASE",
    };
    assert_eq!(Config::from_dotenv().unwrap_err(), other_host);

    std::fs::write(&file, "STRIPE_SECRET_KEY sk_live_s3cr3t\n").unwrap();
    let line = Config::from_dotenv().unwrap_err();
    assert_eq!(line, ConfigError::DotEnvLine);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let unreadable = Config::from_dotenv().unwrap_err();
    assert!(
        matches!(unreadable, ConfigError::DotEnv { .. }),
        "{unreadable:?}"
    );
    let shown = format!(
        "{line} {line:?} {variables:?} {}",
        String::from_utf8_lossy(&log.0.lock().unwrap())
    );
    assert!(
        !shown.contains("s3cr3t") && !shown.contains("whsec_ours"),
        "{shown}"
    );
}
