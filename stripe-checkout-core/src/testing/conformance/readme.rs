//! The framework's own responses, read from the README that describes them.

use super::client::Request;
use super::driver::Driver;
use super::site::Site;

/// Sends each request of a README's table and checks the response. Returns the number of requests.
///
/// The table is in Markdown. Its first column is a request in code (`` `GET /webhook` ``), and its
/// second column begins with a status. If that column contains `Allow`, the response must have that
/// header. Other tables and rows are ignored.
///
/// # Panics
/// If a framework's response differs from its README.
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

/// The request and the status of a row, and whether the row contains `Allow`.
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
