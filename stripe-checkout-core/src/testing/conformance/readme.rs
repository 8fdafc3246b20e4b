//! What a framework answers itself, read out of the README that says it.

use super::client::Request;
use super::driver::Driver;
use super::site::Site;

/// Sends each request of a Markdown table whose first column is a request in code (`` `GET /webhook` ``) and whose second one begins with a status, and says how
/// many there were. Where it speaks of `Allow`, the answer must have that header. Other tables and rows are left alone.
///
/// # Panics
/// If a framework answers otherwise than its README says.
pub async fn answers_as_written(readme: &str, driver: &impl Driver) -> usize {
    let site = Site::start(driver).await;
    let mut rows = 0;
    for (method, target, status, allows) in readme.lines().filter_map(row) {
        let answer = site.send(&Request::new(method, target)).await;
        assert_eq!(answer.status, status, "the README of {method} {target}");
        assert!(
            !allows || answer.header("allow").is_some(),
            "the README of {method} {target}: {:?}",
            answer.headers
        );
        rows += 1;
    }
    rows
}

/// The request and the status of a row, and whether it speaks of `Allow`.
fn row(line: &str) -> Option<(&'static str, &str, u16, bool)> {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    let mut columns = line.split('|').map(str::trim).skip(1);
    let (request, answer) = (columns.next()?, columns.next()?);
    let (method, target) = request.split('`').nth(1)?.split_once(' ')?;
    let method = METHODS.into_iter().find(|known| *known == method)?;
    let status = answer.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((
        method,
        target,
        status.parse().ok()?,
        answer.contains("`Allow`"),
    ))
}
