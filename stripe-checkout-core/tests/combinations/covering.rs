//! A greedy covering array: cases until every possible pair of values of two dimensions has met.

use std::collections::BTreeSet;

use crate::dimensions::{Case, Rules, words};

/// A value of one dimension, and a value of a later one.
type Pair = ((usize, usize), (usize, usize));

/// How many cases are built before the best of them is taken.
const CANDIDATES: usize = 12;

pub(crate) struct Covering {
    pub(crate) cases: Vec<Case>,
    pub(crate) possible: usize,
    pub(crate) covered: usize,
    pub(crate) impossible: usize,
}

struct Generator {
    sizes: Vec<usize>,
    rules: Rules,
    random: fastrand::Rng,
    open: BTreeSet<Pair>,
}

/// Cases that cover every possible pair, and random ones up to this number.
pub(crate) fn cover(at_least: usize, seed: u64) -> Covering {
    let sizes: Vec<usize> = words().iter().map(Vec::len).collect();
    let rules = Rules::new();
    let (mut open, mut impossible) = (BTreeSet::new(), 0);
    for (a, size) in sizes.iter().enumerate() {
        for (b, other) in sizes.iter().enumerate().skip(a + 1) {
            for pair in (0..size * other).map(|at| ((a, at / other), (b, at % other))) {
                match rules.allow(&of_pair(sizes.len(), pair)) {
                    true => drop(open.insert(pair)),
                    false => impossible += 1,
                }
            }
        }
    }
    let possible = open.len();
    let all = open.clone();
    let random = fastrand::Rng::with_seed(seed);
    let mut generator = Generator {
        sizes,
        rules,
        random,
        open,
    };
    let mut cases: Vec<Case> = Vec::new();
    let mut met = BTreeSet::new();
    while !generator.open.is_empty() || cases.len() < at_least {
        let values = generator.next();
        for pair in pairs(&values) {
            generator.open.remove(&pair);
            met.insert(pair);
        }
        let seed = generator.random.u64(..1_000_000);
        cases.push(Case { values, seed });
    }
    Covering {
        cases,
        possible,
        covered: met.intersection(&all).count(),
        impossible,
    }
}

fn of_pair(dimensions: usize, (a, b): Pair) -> Vec<Option<usize>> {
    let mut case = vec![None; dimensions];
    case[a.0] = Some(a.1);
    case[b.0] = Some(b.1);
    case
}

fn pairs(values: &[usize]) -> impl Iterator<Item = Pair> + '_ {
    (0..values.len())
        .flat_map(move |a| (a + 1..values.len()).map(move |b| ((a, values[a]), (b, values[b]))))
}

impl Generator {
    /// The case of some candidates that meets most of the open pairs.
    fn next(&mut self) -> Vec<usize> {
        let candidates = if self.open.is_empty() { 1 } else { CANDIDATES };
        let mut best: Option<(usize, Vec<usize>)> = None;
        for _ in 0..candidates {
            let values = self.candidate();
            let new = pairs(&values)
                .filter(|pair| self.open.contains(pair))
                .count();
            if best.as_ref().is_none_or(|(most, _)| new > *most) {
                best = Some((new, values));
            }
        }
        best.map(|(_, values)| values).expect("a candidate")
    }

    /// Begins with an open pair, and adds to it the values that meet most of the others.
    fn candidate(&mut self) -> Vec<usize> {
        for _ in 0..10_000 {
            let mut case = vec![None; self.sizes.len()];
            if !self.open.is_empty() {
                let at = self.random.usize(..self.open.len());
                let pair = self.open.iter().nth(at).copied().expect("an open pair");
                case = of_pair(self.sizes.len(), pair);
            }
            let mut order: Vec<usize> = (0..case.len()).filter(|at| case[*at].is_none()).collect();
            self.random.shuffle(&mut order);
            if order.into_iter().all(|at| self.fill(&mut case, at)) {
                return case.into_iter().flatten().collect();
            }
        }
        panic!("no case meets a pair that is held to be possible");
    }

    /// Gives a dimension a value. `false` if none is possible.
    fn fill(&mut self, case: &mut [Option<usize>], at: usize) -> bool {
        let mut best: Option<(usize, u32, usize)> = None;
        for value in 0..self.sizes[at] {
            case[at] = Some(value);
            if !self.rules.allow(case) {
                continue;
            }
            let new = (0..case.len()).filter(|other| *other != at);
            let new = new.filter_map(|other| Some((other, case[other]?)));
            let new = new
                .filter(|other| {
                    let (this, other) = ((at, value), *other);
                    self.open.contains(&(this.min(other), this.max(other)))
                })
                .count();
            let luck = self.random.u32(..);
            if best.is_none_or(|(most, lucky, _)| (new, luck) > (most, lucky)) {
                best = Some((new, luck, value));
            }
        }
        case[at] = best.map(|(_, _, value)| value);
        best.is_some()
    }
}
