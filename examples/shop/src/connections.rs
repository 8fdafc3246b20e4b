//! A bound for the connections of strangers, below the bound of the system's descriptors.
//!
//! When all places are taken, the connection that has waited the longest for a request gives way
//! to the new one. So strangers who connect and say nothing keep nobody out.

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

/// How many connections may wait to be taken in. Where a burst of strangers overflows this queue, an
/// honest visitor's first packet is lost, and the next one comes a second later.
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
    /// Connections that wait for a request stand before those that are being answered, and the
    /// oldest stand first.
    open: BTreeMap<Key, Box<dyn FnOnce() + Send>>,
    next: u64,
}

/// Whether it is being answered, and since when.
type Key = (bool, u64);

impl Connections {
    /// Half of this process's descriptors are for connections, each of which takes so many.
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
        let gives_way = match table.open.len() >= self.0.most {
            true => table.open.pop_first(),
            false => None,
        };
        let key = (false, table.stamp());
        table.open.insert(key, Box::new(close));
        drop(table);
        if let Some((_, close)) = gives_way {
            close();
        }
        Connection {
            connections: self.clone(),
            key: Mutex::new(key),
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
    fn stamp(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// A connection's place. Dropping it leaves the place to another one.
#[derive(Debug)]
pub struct Connection {
    connections: Connections,
    key: Mutex<Key>,
}

impl Connection {
    /// A request arrived: while it is answered, connections that wait give way first.
    pub fn begin(&self) {
        self.turn(true);
    }

    /// It was answered.
    pub fn end(&self) {
        self.turn(false);
    }

    fn turn(&self, answering: bool) {
        let mut key = lock(&self.key);
        let mut table = lock(&self.connections.0.table);
        // One that had to give way is no longer there.
        if let Some(close) = table.open.remove(&key) {
            *key = (answering, table.stamp());
            table.open.insert(*key, close);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let key = *lock(&self.key);
        // Dropped outside of the lock, as it may hold anything.
        let close = lock(&self.connections.0.table).open.remove(&key);
        drop(close);
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

    #[test]
    fn the_connection_that_waited_the_longest_gives_way() {
        let connections = Connections::new(3);
        let closed = Arc::new(Mutex::new(Vec::new()));
        let enter = |name: &'static str| {
            let closed = Arc::clone(&closed);
            connections.enter(move || lock(&closed).push(name))
        };
        let (a, b, c) = (enter("a"), enter("b"), enter("c"));
        // The oldest is being answered, and the second one was answered just now.
        a.begin();
        b.begin();
        b.end();
        let d = enter("d");
        assert_eq!(*lock(&closed), ["c"]);
        let e = enter("e");
        assert_eq!(*lock(&closed), ["c", "b"]);
        // Of those that are being answered the oldest gives way: the others are younger.
        d.begin();
        e.begin();
        let f = enter("f");
        assert_eq!(*lock(&closed), ["c", "b", "a"]);
        // One that is closed has no place any more, whatever it does.
        c.begin();
        drop(c);
        a.end();
        assert_eq!(lock(&connections.0.table).open.len(), 3);
        drop((a, b, d, e, f));
        assert!(lock(&connections.0.table).open.is_empty());
        assert_eq!(lock(&closed).len(), 3);
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
