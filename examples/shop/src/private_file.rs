//! SQLite's file is for the shop's own user: it holds orders, sessions and hashes of passwords.

use std::{io, path::Path};

/// Makes the file if there is none, and takes the rights of other users away. SQLite gives the
/// files beside it (`-wal`, `-shm`) the rights of this one.
///
/// # Errors
/// The system's, if there can be no such file.
#[cfg(unix)]
pub(crate) fn make_private(file: &Path) -> io::Result<()> {
    use std::{
        fs::{self, OpenOptions, Permissions},
        os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    };
    const OWNER_ONLY: u32 = 0o600;

    let mut open = OpenOptions::new();
    open.append(true).create(true).mode(OWNER_ONLY).open(file)?;
    for beside in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(beside);
        let Ok(known) = fs::metadata(&name) else {
            continue;
        };
        if known.permissions().mode() & 0o077 == 0 {
            continue;
        }
        if let Err(error) = fs::set_permissions(&name, Permissions::from_mode(OWNER_ONLY)) {
            tracing::warn!(file = %name.display(), %error, "other users may read the database");
        }
    }
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn make_private(_: &Path) -> io::Result<()> {
    Ok(())
}
