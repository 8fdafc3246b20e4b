//! The request of a framework as plain bytes, so that no type of a framework reaches the core.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::endpoint::{Endpoint, Method, SMALL};

/// One request, as an adapter passes it on.
#[derive(Debug)]
pub struct Call {
    pub(crate) endpoint: Endpoint,
    pub(crate) visitor: Visitor,
    pub(crate) body: Body,
    over_http: bool,
}

impl Call {
    /// Creates a call of this route from your own code, without headers and body.
    pub fn new(endpoint: &Endpoint) -> Self {
        Self {
            endpoint: endpoint.clone(),
            visitor: Visitor::default(),
            body: Body::new(endpoint.body_limit()),
            over_http: false,
        }
    }

    /// Creates a call that came over HTTP, without headers and body. Adapters use this.
    ///
    /// `authority` is the host that the request's target names, if it names one. HTTP/2 and later
    /// send it instead of a `Host` header, and it takes precedence over the header (RFC 9112,
    /// 3.2.2).
    ///
    /// [`Checkout::handle`](crate::Checkout::handle) answers 400 unless the request names its host
    /// and has at most one `Host` header.
    pub fn over_http(endpoint: &Endpoint, authority: Option<&str>) -> Self {
        let mut call = Self::new(endpoint);
        call.visitor.authority = authority.map(|authority| authority.as_bytes().to_vec());
        call.over_http = true;
        call
    }

    /// Sets the query string, without the question mark and still percent-encoded.
    #[must_use]
    pub fn query(mut self, query: Option<&str>) -> Self {
        self.visitor.query = query.unwrap_or_default().to_owned();
        self
    }

    /// Adds a header. The value is bytes, because a stranger's header may not be text.
    #[must_use]
    pub fn header(mut self, name: &str, value: &[u8]) -> Self {
        self.visitor
            .headers
            .push((name.to_ascii_lowercase(), value.to_vec()));
        self
    }

    /// Sets the address at the other end of the connection, if the framework knows it.
    #[must_use]
    pub fn peer(mut self, peer: Option<IpAddr>) -> Self {
        self.visitor.peer = peer;
        self
    }

    /// Sets the data that the application attached to the request, see [`VisitorData`].
    #[must_use]
    pub fn visitor_data(mut self, data: Option<VisitorData>) -> Self {
        self.visitor.data = data;
        self
    }

    /// Sets the body, as far as it arrived.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Whether the answer is a refusal that needs no work.
    pub(crate) fn is_refused(&self) -> bool {
        let reads_body = self.endpoint.method() == Method::Post;
        let broken = reads_body && self.body.fault.is_some();
        broken || self.body.is_too_slow() || self.has_wrong_host() || self.has_long_query()
    }

    pub(crate) fn has_long_query(&self) -> bool {
        self.visitor.query.len() > SMALL
    }

    /// Whether a request over HTTP names no host, or more than one.
    pub(crate) fn has_wrong_host(&self) -> bool {
        let headers = self.visitor.headers.iter();
        let hosts = headers.filter(|(name, _)| name == "host").count();
        self.over_http && (hosts > 1 || (hosts == 0 && self.visitor.authority.is_none()))
    }
}

/// Collects a body up to a limit and knows whether it arrived whole.
#[derive(Default)]
pub struct Body {
    bytes: Vec<u8>,
    limit: usize,
    fault: Option<BodyFault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFault {
    TooLarge,
    TooSlow,
    Incomplete,
}

impl Body {
    /// Creates an empty body that accepts up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            fault: None,
        }
    }

    /// Reads a body of up to `limit` bytes, for at most `deadline` in total.
    ///
    /// `next` polls the framework for the next piece. `None` is the end of the body, and an error
    /// means that the rest does not arrive. After either of them, or beyond the limit, nothing more
    /// is read.
    pub async fn read<B: AsRef<[u8]>, E>(
        limit: usize,
        deadline: Duration,
        mut next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<B, E>>>,
    ) -> Self {
        let mut body = Self::new(limit);
        let arrives = async {
            while let Some(piece) = poll_fn(&mut next).await {
                match piece {
                    Ok(piece) if body.push(piece.as_ref()) => {}
                    Ok(_) => break,
                    Err(_) => {
                        body.set_incomplete();
                        break;
                    }
                }
            }
        };
        if tokio::time::timeout(deadline, arrives).await.is_err() {
            body.fault = Some(BodyFault::TooSlow);
        }
        body
    }

    /// Adds a piece of the body. Returns `false` if you can stop reading: the body is too large or
    /// cut short.
    pub fn push(&mut self, chunk: &[u8]) -> bool {
        if self.fault.is_none() {
            if chunk.len() > self.limit.saturating_sub(self.bytes.len()) {
                self.fault = Some(BodyFault::TooLarge);
                self.bytes = Vec::new();
            } else {
                self.bytes.extend_from_slice(chunk);
            }
        }
        self.fault.is_none()
    }

    /// Marks the body as cut short: the bytes that arrived are not used.
    pub fn set_incomplete(&mut self) {
        self.fault.get_or_insert(BodyFault::Incomplete);
    }

    /// Creates a body that is already in memory.
    pub fn whole(bytes: &[u8], limit: usize) -> Self {
        let mut body = Self::new(limit);
        body.push(bytes);
        body
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn is_too_slow(&self) -> bool {
        self.fault == Some(BodyFault::TooSlow)
    }

    pub(crate) fn finish(self) -> Result<Bytes, BodyFault> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.bytes.into()),
        }
    }
}

impl fmt::Debug for Body {
    // The bytes may contain an event or a client secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("len", &self.bytes.len())
            .field("limit", &self.limit)
            .field("fault", &self.fault)
            .finish()
    }
}

/// The visitor who makes a request: its headers and query, and the framework's own data.
///
/// With it, [`Pricing`](crate::Pricing) can look up a session.
#[derive(Clone, Default)]
pub struct Visitor {
    headers: Vec<(String, Vec<u8>)>,
    authority: Option<Vec<u8>>,
    query: String,
    peer: Option<IpAddr>,
    data: Option<VisitorData>,
}

impl Visitor {
    /// Returns the first header of this name, in any case, as it arrived.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers(name).next()
    }

    /// Returns the first header of this name if it is UTF-8.
    pub fn header_str(&self, name: &str) -> Option<&str> {
        self.header(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Returns all headers of this name.
    ///
    /// If the request's target names a host, that host replaces the `Host` header.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let authority = self.authority.as_deref();
        let authority = authority.filter(|_| name.eq_ignore_ascii_case("host"));
        let headers = self
            .headers
            .iter()
            .filter(move |(known, _)| authority.is_none() && known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice());
        authority.into_iter().chain(headers)
    }

    /// Returns the query string, without the question mark and still percent-encoded.
    ///
    /// It is empty if the request has none.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// Uses the fields of a posted form in place of a missing query. They say which order it is.
    #[cfg(feature = "sessions")]
    pub(crate) fn set_form(&mut self, form: &[u8]) {
        if self.query.is_empty()
            && let Ok(form) = std::str::from_utf8(form)
        {
            self.query = form.to_owned();
        }
    }

    /// Returns the address at the other end of the connection, if the framework knows it.
    ///
    /// Behind a proxy it is the proxy's address. The visitor's address is in a header that the
    /// proxy sets.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Returns the application's [`VisitorData`] of the request, if it is a `T`.
    pub fn data<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.data.as_ref().and_then(|data| data.0.downcast_ref())
    }
}

impl fmt::Debug for Visitor {
    // Headers and queries contain cookies, signatures and client secrets, so print only the names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor")
            .field(
                "headers",
                &self
                    .headers
                    .iter()
                    .map(|(name, _)| name)
                    .collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

/// The framework's own user, session or tenant, which raw headers cannot contain.
///
/// Put it into the request's extensions in a middleware. [`Visitor::data`] reads it.
#[derive(Clone)]
pub struct VisitorData(Arc<dyn Any + Send + Sync>);

impl VisitorData {
    /// Wraps any value.
    pub fn new<T: Any + Send + Sync>(data: T) -> Self {
        Self(Arc::new(data))
    }
}

impl fmt::Debug for VisitorData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VisitorData")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_whole_up_to_the_limit_and_too_large_above() {
        assert_eq!(Body::whole(b"1234", 4).finish().unwrap(), "1234");
        assert_eq!(Body::whole(b"12345", 4).finish(), Err(BodyFault::TooLarge));
        let mut body = Body::new(4);
        assert!(body.push(b"123"));
        assert!(!body.push(b"45"));
        assert!(
            !body.push(b""),
            "nothing that comes later makes it good again"
        );
        assert_eq!(body.finish(), Err(BodyFault::TooLarge));
    }

    #[test]
    fn a_body_that_was_cut_short_is_not_used() {
        let mut body = Body::whole(b"123", 4);
        body.set_incomplete();
        assert_eq!(body.finish(), Err(BodyFault::Incomplete));
    }

    /// Pieces that arrive at once, and then either the end or nothing more.
    fn arriving(
        pieces: &'static [Result<&'static str, ()>],
        ends: bool,
    ) -> impl FnMut(&mut Context<'_>) -> Poll<Option<Result<&'static str, ()>>> {
        let mut pieces = pieces.iter();
        move |_| match pieces.next() {
            Some(piece) => Poll::Ready(Some(*piece)),
            None if ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reading_ends_with_the_body_its_fault_or_the_deadline() {
        let second = Duration::from_secs(1);
        let read = async |pieces, ends| Body::read(4, second, arriving(pieces, ends)).await;
        let whole = read(&[Ok("12"), Ok("34")], true).await;
        assert_eq!(whole.finish().unwrap(), "1234");
        let large = read(&[Ok("12"), Ok("345")], false).await;
        assert_eq!(large.finish(), Err(BodyFault::TooLarge));
        let broken = read(&[Ok("12"), Err(())], false).await;
        assert_eq!(broken.finish(), Err(BodyFault::Incomplete));
        let began = tokio::time::Instant::now();
        let slow = read(&[Ok("12")], false).await;
        assert!(slow.is_too_slow());
        assert!(began.elapsed() >= second);
        assert_eq!(slow.finish(), Err(BodyFault::TooSlow));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_does_not_move_the_deadline() {
        let mut pause = tokio::time::interval(Duration::from_millis(100));
        let next = |context: &mut Context<'_>| {
            let ready = pause.poll_tick(context);
            ready.map(|_| Some(Ok::<_, ()>("1")))
        };
        let began = tokio::time::Instant::now();
        let body = Body::read(1000, Duration::from_secs(2), next).await;
        assert!(body.is_too_slow());
        assert!(began.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn a_request_over_http_names_one_host() {
        let endpoint = Endpoint::table(Default::default(), "/webhook", 10, Duration::ZERO)
            .pop()
            .unwrap();
        let wrong = |call: Call, headers: &[&str]| {
            let call = headers
                .iter()
                .fold(call, |call, host| call.header("Host", host.as_bytes()));
            call.has_wrong_host()
        };
        let http = |authority| Call::over_http(&endpoint, authority);
        assert!(!wrong(http(None), &["a.example"]));
        assert!(!wrong(http(Some("a.example")), &[]));
        assert!(!wrong(http(Some("a.example")), &["a.example"]));
        assert!(wrong(http(None), &[]));
        assert!(wrong(http(None), &["a.example", "a.example"]));
        assert!(wrong(http(Some("a.example")), &["a.example", "b.example"]));
        assert!(
            !wrong(Call::new(&endpoint), &[]),
            "from the application itself"
        );
    }

    #[test]
    fn debug_shows_no_values() {
        let visitor = Visitor {
            headers: vec![("cookie".into(), b"session=s3cr3t".to_vec())],
            authority: Some(b"s3cr3t".to_vec()),
            query: "payment_intent_client_secret=s3cr3t".into(),
            peer: None,
            data: Some(VisitorData::new("s3cr3t")),
        };
        let call = Body::whole(b"s3cr3t", 10);
        assert!(!format!("{visitor:?} {call:?}").contains("s3cr3t"));
        assert_eq!(visitor.data::<&str>(), Some(&"s3cr3t"));
        assert_eq!(visitor.data::<u8>(), None);
    }

    #[test]
    fn the_targets_own_host_outranks_the_header() {
        let endpoint = Endpoint::table(Default::default(), "/webhook", 10, Duration::ZERO)
            .pop()
            .unwrap();
        let host = |authority| {
            let call = Call::over_http(&endpoint, authority);
            let visitor = call.header("Host", b"a.example").visitor;
            let hosts: Vec<_> = visitor.headers("host").map(<[u8]>::to_vec).collect();
            hosts
        };
        assert_eq!(host(None), [b"a.example"]);
        assert_eq!(host(Some("b.example:8080")), [b"b.example:8080"]);
    }

    #[test]
    fn header_names_have_any_case_and_values_are_bytes() {
        let endpoint = Endpoint::table(Default::default(), "/webhook", 10, Duration::ZERO)
            .pop()
            .unwrap();
        let call = Call::new(&endpoint)
            .header("X-A", b"\xff")
            .header("x-a", b"2");
        assert_eq!(call.visitor.header("X-a"), Some(&b"\xff"[..]));
        assert_eq!(call.visitor.header_str("x-a"), None);
        assert_eq!(call.visitor.headers("x-A").count(), 2);
    }
}
