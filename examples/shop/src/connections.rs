//! A bound for the connections of strangers, below the bound of the system's descriptors.
//!
//! When all places are taken, an old connection gives way to the new one: of those that wait for a
//! request, or of those whose request is being read and answered, whichever are more. So
//! strangers who connect and send nothing, or half of something, do not keep buyers out.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::limit::lock;

/// How long a connection may take to send the head of a request, and how long it may be idle.
pub const WAIT: Duration = Duration::from_secs(10);

/// No shop needs more connections than this.
const MOST: u64 = 10_000;

/// How many connections may wait to be taken in. If a burst of strangers overflows this queue, an
/// honest visitor's first packet is lost, and the visitor sends it again a second later.
#[cfg(unix)]
const BACKLOG: i32 = 4096;

/// Listens at this address, with a long queue.
///
/// # Errors
/// The system's, if there is no listening.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // A second call changes the length of the queue.
    #[cfg(unix)]
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// The connections that are open. Cheap to clone; clones are one and the same.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    most: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// Connections that wait for a request, the oldest first.
    waiting: Places,
    /// Connections whose request is being read and answered, the oldest first.
    answering: Places,
    next: u64,
}

/// Since when, in the order of what happened; and how to close it.
type Places = BTreeMap<u64, Box<dyn FnOnce() + Send>>;

impl Connections {
    /// Uses half of this process's descriptors for connections. Each connection takes
    /// `descriptors_each` of them.
    pub fn of_this_process(descriptors_each: u64) -> Self {
        let most = (descriptors() / 2 / descriptors_each.max(1)).clamp(1, MOST);
        Self::new(usize::try_from(most).unwrap_or(1))
    }

    fn new(most: usize) -> Self {
        Self(Arc::new(Inner {
            most,
            table: Mutex::default(),
        }))
    }

    /// The most that are open at once.
    pub fn most(&self) -> usize {
        self.0.most
    }

    /// Takes a new connection in. If all places are taken, another one is closed for it.
    /// `close` is called, at most once, if this one has to give way later.
    pub fn enter(&self, close: impl FnOnce() + Send + 'static) -> Connection {
        let mut table = lock(&self.0.table);
        let gives_way = match table.len() >= self.0.most {
            true => table.oldest_of_the_larger_part(),
            false => None,
        };
        let since = table.stamp();
        table.waiting.insert(since, Box::new(close));
        drop(table);
        if let Some(close) = gives_way {
            close();
        }
        Connection {
            connections: self.clone(),
            since: Mutex::new(since),
        }
    }

    /// The same for a socket that a framework keeps to itself: closing shuts it down.
    /// It takes one more descriptor.
    ///
    /// # Errors
    /// The system's, if there is no descriptor left.
    #[cfg(unix)]
    pub fn enter_socket(&self, socket: impl std::os::fd::AsFd) -> io::Result<Connection> {
        let socket = rustix::io::fcntl_dupfd_cloexec(socket, 0)?;
        Ok(self.enter(move || {
            // It may have been closed by the other side.
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        }))
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connections")
            .field("most", &self.0.most)
            .finish_non_exhaustive()
    }
}

impl Table {
    fn len(&self) -> usize {
        self.waiting.len() + self.answering.len()
    }

    /// Each part has half of the places for itself: a flood of the one kind leaves the other alone,
    /// and the newest of its own kind.
    fn oldest_of_the_larger_part(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        let larger = match self.waiting.len() >= self.answering.len() {
            true => &mut self.waiting,
            false => &mut self.answering,
        };
        larger.pop_first().map(|(_, close)| close)
    }

    fn stamp(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// A connection's place. Dropping it leaves the place to another one.
#[derive(Debug)]
pub struct Connection {
    connections: Connections,
    since: Mutex<u64>,
}

impl Connection {
    /// The head of a request arrived.
    pub fn begin(&self) {
        self.turn(|table| (&mut table.waiting, &mut table.answering));
    }

    /// The request was answered.
    pub fn end(&self) {
        self.turn(|table| (&mut table.answering, &mut table.waiting));
    }

    fn turn(&self, parts: impl FnOnce(&mut Table) -> (&mut Places, &mut Places)) {
        let mut since = lock(&self.since);
        let mut table = lock(&self.connections.0.table);
        let now = table.stamp();
        let (from, to) = parts(&mut table);
        // A connection that had to give way is no longer there.
        if let Some(close) = from.remove(&since) {
            to.insert(now, close);
            *since = now;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let since = *lock(&self.since);
        let mut table = lock(&self.connections.0.table);
        let place = table.waiting.remove(&since);
        let place = place.or_else(|| table.answering.remove(&since));
        drop(table);
        // Outside of the lock, as it may hold anything.
        drop(place);
    }
}

#[cfg(unix)]
fn descriptors() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
const fn descriptors() -> u64 {
    1024
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that write down when they are closed.
    struct Named {
        connections: Connections,
        closed: Arc<Mutex<Vec<String>>>,
    }

    impl Named {
        fn new(most: usize) -> Self {
            Self {
                connections: Connections::new(most),
                closed: Arc::default(),
            }
        }

        fn enter(&self, name: &str) -> Connection {
            let (closed, name) = (Arc::clone(&self.closed), name.to_owned());
            self.connections.enter(move || lock(&closed).push(name))
        }

        fn open(&self) -> usize {
            lock(&self.connections.0.table).len()
        }
    }

    #[test]
    fn the_connection_that_waited_the_longest_gives_way() {
        let named = Named::new(3);
        let (a, b, c) = (named.enter("a"), named.enter("b"), named.enter("c"));
        // The oldest was answered just now.
        a.begin();
        a.end();
        let d = named.enter("d");
        assert_eq!(*lock(&named.closed), ["b"]);
        // A connection that is closed has no place any more, whatever it does.
        b.begin();
        b.end();
        drop(b);
        assert_eq!(named.open(), 3);
        drop((a, c, d));
        assert_eq!(named.open(), 0);
        assert_eq!(lock(&named.closed).len(), 1);
    }

    #[test]
    fn a_flood_of_silent_connections_closes_no_request() {
        let named = Named::new(10);
        let honest = named.enter("honest");
        honest.begin();
        let flood: Vec<_> = (0..1000).map(|n| named.enter(&n.to_string())).collect();
        assert!(!lock(&named.closed).contains(&"honest".to_owned()));
        assert_eq!((named.open(), flood.len()), (10, 1000));
    }

    #[test]
    fn a_flood_of_half_requests_closes_no_new_connection() {
        let named = Named::new(10);
        let flood = |names: std::ops::Range<u32>| -> Vec<_> {
            names
                .map(|n| {
                    let stranger = named.enter(&n.to_string());
                    stranger.begin();
                    stranger
                })
                .collect()
        };
        let before = flood(0..100);
        let honest = named.enter("honest");
        let between = flood(100..104);
        honest.begin();
        let after = flood(104..108);
        honest.end();
        assert!(!lock(&named.closed).contains(&"honest".to_owned()));
        assert_eq!(named.open(), 10);
        drop((before, between, after));
        assert_eq!(named.open(), 1);
    }

    #[test]
    fn there_are_places_and_fewer_than_descriptors() {
        for each in [0, 1, 2, u64::MAX] {
            let most = Connections::of_this_process(each).most();
            assert!(
                most > 0 && most as u64 <= descriptors() / 2,
                "{each}: {most}"
            );
        }
    }
}
