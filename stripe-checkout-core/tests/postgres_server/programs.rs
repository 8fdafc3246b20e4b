//! PostgreSQL's programs: where they are, and a user who may run them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

pub(crate) fn command(as_whom: &[String], program: &Path) -> Command {
    match as_whom {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

/// Another user than root, and how to become that one.
pub(crate) fn other_user() -> Result<(&'static str, Vec<String>), String> {
    let user = ["postgres", "nobody"]
        .into_iter()
        .find(|user| output("id", &["-u", user]).is_some())
        .ok_or("there is no user but root")?;
    let (uid, gid) = (output("id", &["-u", user]), output("id", &["-g", user]));
    let (uid, gid) = (uid.unwrap_or_default(), gid.unwrap_or_default());
    let ways: [Vec<String>; 2] = [
        vec![
            "setpriv".into(),
            format!("--reuid={uid}"),
            format!("--regid={gid}"),
            "--clear-groups".into(),
            "--".into(),
        ],
        ["runuser", "-u", user, "--"].map(String::from).into(),
    ];
    let way = ways.into_iter().find(|way| {
        let ran = command(way, Path::new("true")).output();
        ran.is_ok_and(|ran| ran.status.success())
    });
    let way = way.ok_or("neither setpriv nor runuser works, and root may not run PostgreSQL")?;
    Ok((user, way))
}

pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let ran = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(ran.stdout).ok()?;
    ran.status.success().then(|| text.trim().to_owned())
}

/// In the path, or where Debian keeps the programs of each version, and those of administrators.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut versions: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders.push("/usr/sbin".into());
    folders
        .into_iter()
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
