//! The dimensions of the matrix, and the pairs of values that cannot meet, each with its reason.

use std::fmt;
use std::str::FromStr;

/// Declares a dimension: an enum, its values in order, and the word for each of them.
macro_rules! dimension {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$about])* $value,)+ }

        impl $name {
            const ALL: &'static [Self] = &[$(Self::$value,)+];

            fn words() -> Vec<String> {
                vec![$($word.to_owned(),)+]
            }
        }
    };
}

dimension! {
    /// Where the buyer pays.
    Page {
        Own = "own",
        Hosted = "stripe",
        Embedded = "embedded",
    }
}

dimension! {
    /// How the money is captured. Every value but the first authorises first.
    Capture {
        Automatic = "automatic",
        All = "all",
        Part = "part",
        /// More than was authorised, which Stripe refuses, and then all of it.
        Over = "over",
        None = "none",
        /// In the Dashboard: `Checkout` does not know of it.
        AllElsewhere = "all_in_dashboard",
        PartElsewhere = "part_in_dashboard",
    }
}

dimension! {
    /// Whose payment it is.
    Account {
        Own = "own",
        Direct = "direct",
        Destination = "destination",
    }
}

dimension! {
    /// The payment method of the buyer, and how the payment ends.
    PaysWith {
        Card = "card",
        ThreeDSecure = "3ds",
        Debit = "debit",
        DebitFails = "debit_fails",
    }
}

dimension! {
    /// The promotion code, which lowers the price of the lines.
    Discount {
        None = "none",
        Code = "code",
        Whole = "100%",
    }
}

dimension! {
    /// The cost that Stripe's page adds to the lines.
    Extra {
        None = "none",
        Shipping = "shipping",
        Tax = "tax",
    }
}

dimension! {
    Buyer {
        Guest = "guest",
        Customer = "customer",
    }
}

dimension! {
    Store {
        Memory = "memory",
        Sqlite = "sqlite",
        Postgres = "postgres",
    }
}

dimension! {
    /// The merchant or the bank acts after the payment.
    After {
        Nothing = "nothing",
        PartRefund = "part_refund",
        FullRefund = "full_refund",
        Dispute = "dispute",
        Cancel = "cancel",
    }
}

dimension! {
    /// The answer of the handler to the question of the price.
    Price {
        Exactly = "exactly",
        AsAsked = "as_asked",
        /// It became dearer after the payment began.
        Changed = "changed",
    }
}

/// How the events of a case arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Each event as it happens.
    InOrder,
    /// Four of the events in this order, after all has happened; the others keep their places.
    Permuted([usize; 4]),
    /// Of four events those whose bit is set never arrive. The reconciler runs in the end.
    Lost(u8),
    /// No event ever arrives. The reconciler finds the whole life of the order.
    AllLost,
    /// All events arrive two hours late, in order.
    Aged,
}

impl Delivery {
    fn all() -> Vec<Self> {
        let mut all = vec![Self::InOrder];
        for code in 0..4_usize.pow(4) {
            let order = [code / 64 % 4, code / 16 % 4, code / 4 % 4, code % 4];
            let mut sorted = order;
            sorted.sort_unstable();
            if sorted == [0, 1, 2, 3] {
                all.push(Self::Permuted(order));
            }
        }
        all.extend((1..16).map(Self::Lost));
        all.push(Self::AllLost);
        all.push(Self::Aged);
        all
    }

    fn word(self) -> String {
        let digits = |places: &mut dyn Iterator<Item = usize>| -> String {
            places.map(|place| (place + 1).to_string()).collect()
        };
        match self {
            Self::InOrder => "in_order".to_owned(),
            Self::Permuted(order) => format!("order_{}", digits(&mut order.into_iter())),
            Self::Lost(lost) => {
                let places = (0..4).filter(|place| lost >> place & 1 == 1);
                format!("lost_{}", digits(&mut { places }))
            }
            Self::AllLost => "all_lost".to_owned(),
            Self::Aged => "aged".to_owned(),
        }
    }
}

/// One case: a value of each dimension, and a seed for everything that is no dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) values: Vec<usize>,
    pub(crate) seed: u64,
}

pub(crate) const NAMES: [&str; 11] = [
    "page", "capture", "account", "with", "discount", "extra", "buyer", "delivery", "store",
    "after", "price",
];

/// The words of each dimension's values.
pub(crate) fn words() -> Vec<Vec<String>> {
    vec![
        Page::words(),
        Capture::words(),
        Account::words(),
        PaysWith::words(),
        Discount::words(),
        Extra::words(),
        Buyer::words(),
        Delivery::all().into_iter().map(Delivery::word).collect(),
        Store::words(),
        After::words(),
        Price::words(),
    ]
}

impl Case {
    pub(crate) fn page(&self) -> Page {
        Page::ALL[self.values[0]]
    }
    pub(crate) fn capture(&self) -> Capture {
        Capture::ALL[self.values[1]]
    }
    pub(crate) fn account(&self) -> Account {
        Account::ALL[self.values[2]]
    }
    pub(crate) fn pays_with(&self) -> PaysWith {
        PaysWith::ALL[self.values[3]]
    }
    pub(crate) fn discount(&self) -> Discount {
        Discount::ALL[self.values[4]]
    }
    pub(crate) fn extra(&self) -> Extra {
        Extra::ALL[self.values[5]]
    }
    pub(crate) fn buyer(&self) -> Buyer {
        Buyer::ALL[self.values[6]]
    }
    pub(crate) fn delivery(&self) -> Delivery {
        Delivery::all()[self.values[7]]
    }
    pub(crate) fn store(&self) -> Store {
        Store::ALL[self.values[8]]
    }
    pub(crate) fn after(&self) -> After {
        After::ALL[self.values[9]]
    }
    pub(crate) fn price(&self) -> Price {
        Price::ALL[self.values[10]]
    }

    /// Whether a promotion takes off all that there is to pay.
    pub(crate) fn is_free(&self) -> bool {
        self.discount() == Discount::Whole && self.extra() != Extra::Shipping
    }

    pub(crate) fn queues(&self) -> bool {
        self.store() != Store::Memory && self.choose("queued", 4) == 0
    }

    /// Whether Stripe makes two events of each change, as it rarely does. Two declines of a payment
    /// are told apart by nothing, so that is left out.
    pub(crate) fn is_doubled(&self) -> bool {
        self.pays_with() != PaysWith::DebitFails && self.choose("doubled", 5) == 0
    }

    pub(crate) fn is_lossy(&self) -> bool {
        matches!(self.delivery(), Delivery::Lost(_) | Delivery::AllLost)
    }

    /// A choice that is no dimension: the same for the same case.
    pub(crate) fn choose(&self, what: &str, of: usize) -> usize {
        let mut hash = self.seed ^ 0xcbf2_9ce4_8422_2325;
        for byte in what.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        fastrand::Rng::with_seed(hash).usize(..of)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((name, words), value) in NAMES.iter().zip(words()).zip(&self.values) {
            write!(f, "{name}={},", words[*value])?;
        }
        write!(f, "seed={}", self.seed)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut case = Self {
            values: Vec::new(),
            seed: 0,
        };
        let fields: Vec<_> = line.split(',').filter_map(|f| f.split_once('=')).collect();
        let field = |name: &str| {
            let found = fields.iter().find(|(known, _)| known.trim() == name);
            found
                .map(|(_, word)| word.trim())
                .ok_or(format!("no {name} in {line}"))
        };
        for (name, words) in NAMES.iter().zip(words()) {
            let word = field(name)?;
            let at = words.iter().position(|known| known == word);
            case.values
                .push(at.ok_or(format!("no value {word} of {name}"))?);
        }
        case.seed = field("seed")?
            .parse()
            .map_err(|_| "the seed is no number")?;
        Ok(case)
    }
}

/// Some values of a dimension.
type Values = (&'static str, &'static [&'static str]);

const MANUAL: Values = (
    "capture",
    &[
        "all",
        "part",
        "over",
        "none",
        "all_in_dashboard",
        "part_in_dashboard",
    ],
);
const DEBITS: Values = ("with", &["debit", "debit_fails"]);
const REVERSED: Values = ("after", &["part_refund", "full_refund", "dispute"]);
const NO_FURTHER_COST: Values = ("extra", &["none", "tax"]);

const LOST: Values = (
    "delivery",
    &[
        "lost_1",
        "lost_2",
        "lost_12",
        "lost_3",
        "lost_13",
        "lost_23",
        "lost_123",
        "lost_4",
        "lost_14",
        "lost_24",
        "lost_124",
        "lost_34",
        "lost_134",
        "lost_234",
        "lost_1234",
        "all_lost",
    ],
);

/// The pairs of values that cannot meet.
pub(crate) const IMPOSSIBLE_PAIRS: &[(Values, Values, &str)] = &[
    (
        ("page", &["own"]),
        ("discount", &["code", "100%"]),
        "the own page takes no promotion codes",
    ),
    (
        ("page", &["own"]),
        ("extra", &["shipping", "tax"]),
        "the price on the own page is whole: Stripe adds nothing to a PaymentIntent",
    ),
    (
        LOST,
        ("store", &["memory"]),
        "the reconciler refuses an inbox that forgets",
    ),
    (
        MANUAL,
        DEBITS,
        "SEPA Direct Debit cannot be authorised first and captured later",
    ),
    (
        ("capture", &["none"]),
        REVERSED,
        "money that was never captured cannot be refunded or disputed",
    ),
    (
        ("with", &["debit_fails"]),
        REVERSED,
        "money that never arrived cannot be refunded or disputed",
    ),
];

/// Triples that cannot meet. They take no pair away.
const IMPOSSIBLE_TRIPLES: &[(Values, Values, Values, &str)] = &[
    (
        ("discount", &["100%"]),
        NO_FURTHER_COST,
        ("with", &["3ds", "debit", "debit_fails"]),
        "the buyer of a free order is asked for no payment method",
    ),
    (
        ("discount", &["100%"]),
        NO_FURTHER_COST,
        REVERSED,
        "a free order brings no money that could go back",
    ),
    (
        ("discount", &["100%"]),
        NO_FURTHER_COST,
        (
            "capture",
            &[
                "part",
                "over",
                "none",
                "all_in_dashboard",
                "part_in_dashboard",
            ],
        ),
        "a free order has nothing to capture",
    ),
];

/// Both lists, made ready to be asked often.
pub(crate) struct Rules {
    groups: Vec<Vec<(usize, Vec<bool>)>>,
}

impl Rules {
    pub(crate) fn new() -> Self {
        let words = words();
        let group = |(name, values): &Values| {
            let at = NAMES.iter().position(|known| known == name).expect(name);
            for value in *values {
                assert!(words[at].iter().any(|word| word == value), "{name}={value}");
            }
            let is_in = |word: &String| values.contains(&word.as_str());
            (at, words[at].iter().map(is_in).collect())
        };
        let pairs = IMPOSSIBLE_PAIRS
            .iter()
            .map(|(a, b, _)| vec![group(a), group(b)]);
        let triples = IMPOSSIBLE_TRIPLES.iter();
        let triples = triples.map(|(a, b, c, _)| vec![group(a), group(b), group(c)]);
        Self {
            groups: pairs.chain(triples).collect(),
        }
    }

    /// Whether this case, of which some values may still be open, breaks no rule.
    pub(crate) fn allow(&self, case: &[Option<usize>]) -> bool {
        self.groups.iter().all(|group| {
            let breaks = |(at, is_in): &(usize, Vec<bool>)| case[*at].is_some_and(|v| is_in[v]);
            !group.iter().all(breaks)
        })
    }
}
