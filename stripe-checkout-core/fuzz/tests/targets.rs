//! Every target on its kept corpus. `.ci/fuzz` begins with the same files.

use std::{fs, path::Path};

use serde::Deserialize;
use stripe_checkout_fuzz::{
    TARGETS,
    signature::{EmptySignature, Question},
};

#[test]
fn every_input_of_the_corpus_passes() {
    for (name, check) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        let mut count = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            // The path of a file that fails stands above the panic.
            println!("{}", file.display());
            check(&fs::read(file).unwrap());
            count += 1;
        }
        assert!(count >= 10, "{name} has {count} inputs");
    }
}

/// The recorded events are the corpus of their target too.
#[test]
fn every_recorded_event_passes() {
    let (_, check) = TARGETS
        .iter()
        .find(|(name, _)| *name == "event_json")
        .unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/events");
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        println!("{}", file.display());
        check(&fs::read(file).unwrap());
    }
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    header: String,
    /// In hexadecimal digits.
    payload: String,
    secret: String,
    now: u64,
    tolerance: u64,
    python: bool,
    node: bool,
}

/// The models of the SDKs say what the SDKs said when they were asked.
#[test]
fn the_models_judge_every_vector_as_the_sdks_did() {
    let vectors = include_str!("../../tests/signature-vectors/vectors.json");
    let vectors: Vec<Vector> = serde_json::from_str(vectors).unwrap();
    let mut judged = 0;
    for vector in &vectors {
        let digits: Vec<char> = vector.payload.chars().collect();
        let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
        let payload: Vec<u8> = digits.chunks(2).map(byte).collect();
        // Outside the models: other text than ASCII, and secrets that the SDKs change or refuse.
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let in_model = vector.header.is_ascii()
            && payload.is_ascii()
            && is_plain(&vector.secret)
            && !vector.secret.is_empty();
        if !in_model {
            continue;
        }
        judged += 1;
        let question = Question {
            header: &vector.header,
            payload: &payload,
            secret: &vector.secret,
            now: vector.now,
            tolerance: vector.tolerance,
        };
        let found = (question.python(), question.node(EmptySignature::Throws));
        assert_eq!(found, (vector.python, vector.node), "{}", vector.name);
    }
    assert!(judged >= 150, "{judged} of {}", vectors.len());
}
