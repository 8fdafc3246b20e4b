//! A `.env` file in the working folder.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::ConfigError;

/// The environment, and behind it a `.env` file in the working folder.
///
/// It reads the working folder only. A file in a parent folder may belong to another user.
/// The environment stays as it is, so threads may run already.
///
/// `Debug` shows the file's name and no value.
///
/// ```no_run
/// use stripe_checkout_core::{Config, DotEnv};
///
/// let variables = DotEnv::read()?;
/// let config = Config::from_vars(|name| variables.get(name))?; // as Config::from_dotenv()
/// let database = variables.get("DATABASE_URL");
/// # Ok::<(), stripe_checkout_core::ConfigError>(())
/// ```
pub struct DotEnv {
    file: Option<PathBuf>,
    variables: HashMap<String, Zeroizing<String>>,
}

impl DotEnv {
    /// Reads `.env` in the working folder, if there is one, and logs its name.
    ///
    /// # Errors
    /// [`ConfigError::DotEnv`] if there is a file that cannot be read, and
    /// [`ConfigError::DotEnvLine`] if a line of it is not `NAME=value`. Neither shows a line.
    pub fn read() -> Result<Self, ConfigError> {
        let unreadable = |error: io::Error| ConfigError::DotEnv { kind: error.kind() };
        let file = std::env::current_dir().map_err(unreadable)?.join(".env");
        let text = match std::fs::read(&file) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self {
                    file: None,
                    variables: HashMap::new(),
                });
            }
            Err(error) => return Err(unreadable(error)),
        };
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
        let mut variables = HashMap::new();
        for line in dotenvy::from_read_iter(text) {
            // The error would show the line, which may be a key.
            let (name, value) = line.map_err(|_| ConfigError::DotEnvLine)?;
            // The first one counts, as in other readers of such files.
            let value = Zeroizing::new(value);
            variables.entry(name).or_insert(value);
        }
        tracing::info!(file = %file.display(), "settings are read from a file");
        Ok(Self {
            file: Some(file),
            variables,
        })
    }

    /// The value of a variable: that of the environment, or else that of the file.
    ///
    /// An empty variable counts as absent.
    pub fn get(&self, name: &str) -> Option<OsString> {
        let set = std::env::var_os(name).filter(|value| !value.is_empty());
        set.or_else(|| {
            let value = self.variables.get(name)?;
            Some(OsString::from(value.as_str())).filter(|value| !value.is_empty())
        })
    }
}

impl fmt::Debug for DotEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DotEnv")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}
