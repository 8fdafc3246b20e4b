//! A bound for the connections of strangers, below the bound of the system's descriptors.
//!
//! When all places are taken, an old connection gives way to the new one. It belongs to the network
//! with the most connections. Either it waits for a request, or its request is being read and
//! answered, whichever are more. So strangers who connect and send nothing, or half of something,
//! do not keep buyers out.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::limit::{self, lock};

/// How long a connection may take to send the head of a request, and how long it may be idle.
pub const WAIT: Duration = Duration::from_secs(10);

/// No shop needs more connections than this.
const MOST: u64 = 10_000;

/// Networks with at most this many connections are alike. A browser opens six at once, and must not
/// give way to strangers from many networks with one connection each.
const A_FEW: usize = 8;

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
    places: HashMap<Since, Place>,
    all: Held,
    by_network: HashMap<IpAddr, Held>,
    /// The networks, those with the fewest connections first.
    by_size: BTreeSet<(usize, IpAddr)>,
    now: Since,
}

/// When a connection entered, or when its request began or ended: a number for each such event.
type Since = u64;

struct Place {
    network: IpAddr,
    close: Box<dyn FnOnce() + Send>,
}

/// The connections of one network, or all of them. The oldest are first.
#[derive(Default)]
struct Held {
    /// They wait for a request.
    waiting: BTreeSet<Since>,
    /// Their request is being read and answered.
    answering: BTreeSet<Since>,
}

impl Held {
    fn len(&self) -> usize {
        self.waiting.len() + self.answering.len()
    }

    fn remove(&mut self, since: Since) {
        self.waiting.remove(&since);
        self.answering.remove(&since);
    }

    /// Each part has half of these places for itself: a flood of one kind leaves the other alone,
    /// and the newest of its own kind.
    fn oldest_of_the_larger_part(&self) -> Option<Since> {
        let larger = match self.waiting.len() >= self.answering.len() {
            true => &self.waiting,
            false => &self.answering,
        };
        larger.first().copied()
    }
}

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

    /// Takes in a new connection from this address. If all places are taken, another one is closed
    /// for it. `close` is called, at most once, if this one has to give way later.
    pub fn enter(&self, from: Option<IpAddr>, close: impl FnOnce() + Send + 'static) -> Connection {
        let place = Place {
            network: limit::site(from),
            close: Box::new(close),
        };
        let mut table = lock(&self.0.table);
        let gives_way = match table.places.len() >= self.0.most {
            true => table.gives_way(),
            false => None,
        };
        let since = table.insert(place, |held| &mut held.waiting);
        drop(table);
        if let Some(place) = gives_way {
            (place.close)();
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
    pub fn enter_socket(
        &self,
        from: Option<IpAddr>,
        socket: impl std::os::fd::AsFd,
    ) -> io::Result<Connection> {
        let socket = rustix::io::fcntl_dupfd_cloexec(socket, 0)?;
        Ok(self.enter(from, move || {
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
    /// Adds a connection to this part of those that its network holds.
    fn insert(&mut self, place: Place, part: fn(&mut Held) -> &mut BTreeSet<Since>) -> Since {
        self.now += 1;
        let (since, network) = (self.now, place.network);
        self.places.insert(since, place);
        part(&mut self.all).insert(since);
        let held = self.by_network.entry(network).or_default();
        self.by_size.remove(&(held.len(), network));
        part(held).insert(since);
        self.by_size.insert((held.len(), network));
        since
    }

    fn remove(&mut self, since: Since) -> Option<Place> {
        let place = self.places.remove(&since)?;
        self.all.remove(since);
        if let Some(held) = self.by_network.get_mut(&place.network) {
            self.by_size.remove(&(held.len(), place.network));
            held.remove(since);
            match held.len() {
                0 => drop(self.by_network.remove(&place.network)),
                len => drop(self.by_size.insert((len, place.network))),
            }
        }
        Some(place)
    }

    /// Frees a place: of the network with the most connections, if that has more than a few.
    fn gives_way(&mut self) -> Option<Place> {
        let largest = self.by_size.last().filter(|(len, _)| *len > A_FEW);
        let held = largest.and_then(|(_, network)| self.by_network.get(network));
        let oldest = held.unwrap_or(&self.all).oldest_of_the_larger_part()?;
        self.remove(oldest)
    }
}

/// A connection's place. Dropping it leaves the place to another one.
#[derive(Debug)]
pub struct Connection {
    connections: Connections,
    since: Mutex<Since>,
}

impl Connection {
    /// The head of a request arrived.
    pub fn begin(&self) {
        self.turn(|held| &mut held.answering);
    }

    /// The request was answered.
    pub fn end(&self) {
        self.turn(|held| &mut held.waiting);
    }

    fn turn(&self, part: fn(&mut Held) -> &mut BTreeSet<Since>) {
        let mut since = lock(&self.since);
        let mut table = lock(&self.connections.0.table);
        // A connection that had to give way is no longer there.
        if let Some(place) = table.remove(*since) {
            *since = table.insert(place, part);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let since = *lock(&self.since);
        let mut table = lock(&self.connections.0.table);
        let place = table.remove(since);
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
            self.enter_from("203.0.113.7", name)
        }

        fn enter_from(&self, address: &str, name: &str) -> Connection {
            let (closed, name) = (Arc::clone(&self.closed), name.to_owned());
            let address = Some(address.parse().expect("an address"));
            let close = move || lock(&closed).push(name);
            self.connections.enter(address, close)
        }

        /// How many are open. Each index of the table agrees.
        fn open(&self) -> usize {
            let table = lock(&self.connections.0.table);
            let held: usize = table.by_network.values().map(Held::len).sum();
            let sizes: usize = table.by_size.iter().map(|(len, _)| len).sum();
            let (open, all) = (table.places.len(), table.all.len());
            assert_eq!((open, open, open), (all, held, sizes));
            assert_eq!(table.by_network.len(), table.by_size.len());
            open
        }

        fn closed(&self, name: &str) -> bool {
            lock(&self.closed).iter().any(|closed| closed == name)
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
        assert!(!named.closed("honest"));
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
        assert!(!named.closed("honest"));
        assert_eq!(named.open(), 10);
        drop((before, between, after));
        assert_eq!(named.open(), 1);
    }

    /// An address of another network each.
    fn elsewhere(n: usize) -> String {
        format!("198.51.{}.{}", n / 250, n % 250)
    }

    #[test]
    fn a_flood_from_one_network_closes_its_own_connections_only() {
        for stranger in [
            |_| "192.0.2.1".to_owned(),
            // Two sites, and each connection from another /64 of them.
            |n| format!("2001:db8:{}:{n}::1", n % 2),
        ] {
            for half_requests in [false, true] {
                let named = Named::new(100);
                // They are older than all of the flood.
                let honest: Vec<_> = (0..60)
                    .map(|n| named.enter_from(&elsewhere(n / 6), &format!("honest {n}")))
                    .collect();
                honest.iter().step_by(2).for_each(Connection::begin);
                let flood: Vec<_> = (0..1000)
                    .map(|n| {
                        let connection = named.enter_from(&stranger(n), &n.to_string());
                        if half_requests {
                            connection.begin();
                        }
                        connection
                    })
                    .collect();
                let late = named.enter_from(&elsewhere(99), "late");
                assert_eq!((named.open(), flood.len()), (100, 1000));
                let closed = lock(&named.closed);
                assert!(closed.iter().all(|name| name.parse::<usize>().is_ok()));
                drop(closed);
                drop((honest, flood, late));
                assert_eq!(named.open(), 0);
            }
        }
    }

    #[test]
    fn a_flood_from_many_networks_does_not_close_a_browsers_few_connections() {
        let named = Named::new(100);
        let before: Vec<_> = (0..100)
            .map(|n| named.enter_from(&elsewhere(n), &n.to_string()))
            .collect();
        let browser: Vec<_> = (0..6).map(|_| named.enter("browser")).collect();
        let after: Vec<_> = (100..190)
            .map(|n| named.enter_from(&elsewhere(n), &n.to_string()))
            .collect();
        assert!(!named.closed("browser"));
        assert_eq!(named.open(), 100);
        drop((before, browser, after));
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
