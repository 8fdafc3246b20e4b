//! As much of Markdown as the text uses.

use std::path::{Path, PathBuf};

/// Code between fences.
pub(crate) struct Block {
    /// Of the fence, counted from 1.
    pub(crate) line: usize,
    /// The line of the heading above it.
    pub(crate) section: usize,
    pub(crate) language: String,
    /// Without the indentation that all of them have.
    pub(crate) lines: Vec<String>,
}

pub(crate) struct Link {
    pub(crate) line: usize,
    pub(crate) target: String,
}

#[derive(Default)]
pub(crate) struct Text {
    pub(crate) headings: Vec<(usize, String)>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) links: Vec<Link>,
    pub(crate) quotes: Vec<(usize, String)>,
    /// Code between backticks.
    pub(crate) spans: Vec<(usize, String)>,
}

pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Text {
    pub(crate) fn read() -> Self {
        Self::of(&examples().join("README.md"))
    }

    pub(crate) fn of(file: &Path) -> Self {
        let file = std::fs::read_to_string(file).expect("a text");
        let mut text = Self::default();
        let mut open: Option<Block> = None;
        for (line, words) in file.lines().enumerate().map(|(n, words)| (n + 1, words)) {
            let fence = words.trim_start().strip_prefix("```");
            match (open.as_mut(), fence) {
                (None, Some(language)) => {
                    let section = text.headings.last().map_or(0, |(line, _)| *line);
                    let (language, lines) = (language.to_owned(), Vec::new());
                    open = Some(Block {
                        line,
                        section,
                        language,
                        lines,
                    });
                }
                (Some(_), Some(_)) => {
                    let mut block = open.take().expect("it is open");
                    let lines: Vec<&str> = block.lines.iter().map(String::as_str).collect();
                    block.lines = dedented(&lines);
                    text.blocks.push(block);
                }
                (Some(block), None) => block.lines.push(words.to_owned()),
                (None, None) => text.prose(line, words),
            }
        }
        assert!(open.is_none(), "a fence is never closed");
        text
    }

    fn prose(&mut self, line: usize, words: &str) {
        if words.starts_with('#') {
            let title = words.trim_start_matches('#').trim().to_owned();
            self.headings.push((line, title));
        }
        if let Some(quote) = words.strip_prefix("> ") {
            self.quotes.push((line, quote.to_owned()));
        }
        for rest in words.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default().to_owned();
            self.links.push(Link { line, target });
        }
        for span in words.split('`').skip(1).step_by(2) {
            self.spans.push((line, span.to_owned()));
        }
    }
}

/// Lines without the indentation that all of them have.
pub(crate) fn dedented(lines: &[&str]) -> Vec<String> {
    let written = lines.iter().filter(|line| !line.trim().is_empty());
    let indent = written.map(|line| line.len() - line.trim_start().len());
    let indent = indent.min().unwrap_or_default();
    let lines = lines.iter();
    lines
        .map(|line| line.get(indent..).unwrap_or_default().to_owned())
        .collect()
}

/// The anchor of a heading, as GitHub makes it.
pub(crate) fn slug(title: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    title.chars().filter_map(kept).collect()
}
