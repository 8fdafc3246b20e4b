//! Checks that `examples/README.md` is right: its code is compiled, its commands work, and its
//! links lead somewhere.

mod commands;
mod markdown;

use std::collections::BTreeSet;
use std::path::Path;

use markdown::{Text, dedented, examples, slug};

#[test]
fn every_block_of_code_stands_in_the_file_that_is_linked_above_it() {
    let text = Text::read();
    let mut compared = 0;
    for block in text.blocks.iter().filter(|block| block.language != "sh") {
        assert!(
            ["rust", "ini"].contains(&block.language.as_str()),
            "line {}: what is {:?}?",
            block.line,
            block.language
        );
        let files: Vec<_> = text
            .links
            .iter()
            .filter(|link| block.section < link.line && link.line < block.line)
            .filter(|link| examples().join(&link.target).is_file())
            .collect();
        let stands = |target: &str| {
            let file = std::fs::read_to_string(examples().join(target)).expect("a text");
            let lines: Vec<&str> = file.lines().collect();
            let found = |part: &[&str]| dedented(part) == block.lines;
            lines.windows(block.lines.len()).any(found)
        };
        assert!(
            files.iter().any(|link| stands(&link.target)),
            "line {}: none of the files linked in this section has these lines, one after another:\n{}",
            block.line,
            block.lines.join("\n")
        );
        compared += 1;
    }
    assert!(compared > 10, "where is the code? {compared} blocks");
}

#[test]
fn every_step_has_its_section_and_its_program() {
    let text = Text::read();
    let mut programs = BTreeSet::new();
    for file in std::fs::read_dir(examples().join("tutorial/src/bin")).expect("a folder") {
        let name = file.expect("a file").file_name();
        let name = name.into_string().expect("a name");
        programs.insert(name.trim_end_matches(".rs").to_owned());
    }
    let mut told = BTreeSet::new();
    for (line, title) in &text.headings {
        let Some((number, _)) = title
            .strip_prefix("Step ")
            .and_then(|rest| rest.split_once(':'))
        else {
            continue;
        };
        let end = text.headings.iter().map(|(line, _)| *line);
        let end = end.filter(|next| next > line).min().unwrap_or(usize::MAX);
        let within = |at: usize| *line < at && at < end;
        let run = format!("--bin step-{number}-");
        let shells = text.blocks.iter().filter(|block| within(block.line));
        let program = shells
            .flat_map(|block| &block.lines)
            .find_map(|line| Some(line.split_once(&run)?.1.trim().to_owned()))
            .unwrap_or_else(|| panic!("{title}: how is it started?"));
        let boxes = text.quotes.iter().filter(|(at, _)| within(*at));
        let taken = |(_, quote): &&(usize, String)| quote.starts_with("**Taken care of**");
        assert_eq!(boxes.filter(taken).count(), 1, "{title}: its box");
        told.insert(format!("step-{number}-{program}"));
    }
    assert_eq!(told, programs);
}

#[test]
fn every_link_leads_somewhere() {
    let text = Text::read();
    let mut followed = 0;
    for link in &text.links {
        if link.target.starts_with("http") {
            continue;
        }
        let (path, anchor) = link.target.split_once('#').unwrap_or((&link.target, ""));
        let file = examples().join(path);
        assert!(file.exists(), "line {}: {}", link.line, link.target);
        if !anchor.is_empty() {
            let there = Text::of(&file);
            let mut slugs = there.headings.iter().map(|(_, title)| slug(title));
            assert!(
                slugs.any(|slug| slug == anchor),
                "line {}: {}",
                link.line,
                link.target
            );
        }
        followed += 1;
    }
    assert!(followed > 20, "where are the links? {followed}");
}

/// The table at the top contains every example in the folder.
#[test]
fn the_table_names_every_example() {
    let text = Text::read();
    for folder in std::fs::read_dir(examples()).expect("a folder") {
        let path = folder.expect("an entry").path();
        if path.join("Cargo.toml").is_file() {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.expect("a name");
            let linked = |link: &markdown::Link| Path::new(&link.target) == Path::new(name);
            assert!(text.links.iter().any(linked), "{name} is not in the table");
        }
    }
}
