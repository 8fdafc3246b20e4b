//! Runs one target. The variable `FUZZ_TARGET` names it.
//!
//! Built by `.ci/fuzz`, this is libFuzzer. Built plainly, it checks the files that are named, for
//! example an input that failed.

#![cfg_attr(fuzzing, no_main)]

use stripe_checkout_fuzz::{Check, TARGETS};

fn target() -> Check {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    match found {
        Some((_, check)) => *check,
        None => panic!("set FUZZ_TARGET to one of {}", names.join(", ")),
    }
}

#[cfg(fuzzing)]
mod fuzzer {
    use std::sync::OnceLock;

    use stripe_checkout_fuzz::Check;

    static TARGET: OnceLock<Check> = OnceLock::new();

    libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET.get_or_init(super::target)(input));
}

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    let check = target();
    for file in std::env::args_os().skip(1) {
        check(&std::fs::read(file)?);
    }
    Ok(())
}
