//! The log of requests to the sandbox, where tests read what a client really sent.

use std::collections::VecDeque;
use std::time::Instant;

/// The most requests that are remembered.
const MAX_REQUESTS: usize = 10_000;
/// The most bytes that they may have. Any page in a browser on this machine can send some.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The newest requests, oldest first.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    requests: VecDeque<LoggedRequest>,
    bytes: usize,
}

impl RequestLog {
    /// Remembers a request, and forgets the oldest ones beyond the limits.
    pub(crate) fn push(&mut self, request: LoggedRequest) {
        self.bytes = self.bytes.saturating_add(request.bytes());
        self.requests.push_back(request);
        while self.requests.len() > MAX_REQUESTS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.requests.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
        }
    }

    /// Records the answer to a request.
    pub(crate) fn answered(&mut self, request_id: &str, status: u16, replayed: bool) {
        let mut newest_first = self.requests.iter_mut().rev();
        if let Some(logged) = newest_first.find(|logged| logged.request_id == request_id) {
            logged.status = Some(status);
            logged.replayed = replayed;
            logged.answered = Some(Instant::now());
        }
    }

    pub(crate) fn all(&self) -> Vec<LoggedRequest> {
        self.requests.iter().cloned().collect()
    }
}

/// One request to the sandbox's API.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedRequest {
    /// The method, upper-case.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query as received; empty if there is none.
    pub query: String,
    /// The header `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The header `Stripe-Version` as the client sent it.
    pub stripe_version: Option<String>,
    /// The header `Stripe-Account`.
    pub account: Option<String>,
    /// The body as received, unchecked.
    pub body: bytes::Bytes,
    /// The id that the answer carries in `Request-Id`.
    pub request_id: String,
    /// The status of the answer. `None` before the answer, and forever if a fault withheld it.
    pub status: Option<u16>,
    /// Whether the answer replays an earlier one of the same idempotency key.
    pub replayed: bool,
    /// When the request arrived.
    pub received: Instant,
    /// When its answer was ready; `None` before that.
    pub answered: Option<Instant>,
}

impl LoggedRequest {
    /// The size of everything that the client chose.
    fn bytes(&self) -> usize {
        let headers = [&self.idempotency_key, &self.stripe_version, &self.account];
        let headers: usize = headers.into_iter().flatten().map(String::len).sum();
        self.method.len() + self.path.len() + self.query.len() + headers + self.body.len()
    }
}

// Written by hand, without the query and the body: they contain client secrets and buyers'
// addresses.
impl std::fmt::Debug for LoggedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoggedRequest")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("idempotency_key", &self.idempotency_key)
            .field("request_id", &self.request_id)
            .field("status", &self.status)
            .field("replayed", &self.replayed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: usize, query: usize, body: usize) -> LoggedRequest {
        LoggedRequest {
            method: "POST".to_owned(),
            path: "/v1/tokens".to_owned(),
            query: "q".repeat(query),
            idempotency_key: None,
            stripe_version: None,
            account: None,
            body: vec![b'b'; body].into(),
            request_id: format!("req_{number}"),
            status: None,
            replayed: false,
            received: Instant::now(),
            answered: None,
        }
    }

    fn ids(log: &RequestLog) -> Vec<String> {
        let requests = log.all();
        requests
            .into_iter()
            .map(|logged| logged.request_id)
            .collect()
    }

    #[test]
    fn remembered_requests_are_bounded_in_number_and_in_bytes() {
        let mut log = RequestLog::default();
        for number in 0..MAX_REQUESTS + 5 {
            log.push(request(number, 0, 0));
        }
        assert_eq!(ids(&log).len(), MAX_REQUESTS);
        assert_eq!(ids(&log).first().map(String::as_str), Some("req_5"));
        for (query, body) in [(400_000, 0), (0, 1 << 20), (400_000, 1 << 20)] {
            for number in 0..300 {
                log.push(request(number, query, body));
                let sizes = log
                    .requests
                    .iter()
                    .map(|kept| kept.query.len() + kept.body.len());
                assert!(sizes.sum::<usize>() <= MAX_BYTES);
                let newest = log.requests.back().unwrap();
                assert_eq!((newest.query.len(), newest.body.len()), (query, body));
                assert_eq!(newest.request_id, format!("req_{number}"));
            }
        }
        log.answered("req_299", 200, true);
        let last = log.all().pop().unwrap();
        assert_eq!((last.status, last.replayed), (Some(200), true));
    }
}
