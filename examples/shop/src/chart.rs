//! Small charts, drawn by the server: the positions of the bars and texts.
//!
//! `chart.html` writes them as SVG. They need no script and no styles of their own, and each has a
//! table behind it.

use minijinja::{Value, context};

/// All lengths are in units of the drawing's own `viewBox`, about a pixel each.
const WIDTH: f64 = 260.0;
const HEIGHT: f64 = 120.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 98.0;
const ROW: f64 = 34.0;
/// The least length of a bar above zero, so that it can be seen.
const LEAST: f64 = 2.5;
/// The most rows of a chart with words. One last row stands for all rarer values.
const ROWS: usize = 5;

/// One bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bar {
    /// The label: an hour, a day, a code.
    pub(crate) label: String,
    /// The value, in any unit.
    pub(crate) value: u64,
    /// The value as text.
    pub(crate) said: String,
    /// Whether the bar is emphasised.
    pub(crate) marked: bool,
}

/// The words of a chart.
#[derive(Debug)]
pub(crate) struct Words<'a> {
    /// A name that is unique on the page, for the page's own references.
    pub(crate) id: &'a str,
    pub(crate) title: String,
    /// The column of the bars' labels in the table.
    pub(crate) column: &'a str,
    /// The text if there is no bar.
    pub(crate) nothing: &'a str,
    /// The name of the colour in the style sheet.
    pub(crate) look: &'a str,
}

/// A chart with bars side by side. The bars at the places in `labelled` have their label below.
pub(crate) fn upright(words: &Words<'_>, bars: &[Bar], labelled: &[usize]) -> Value {
    let highest = bars.iter().map(|bar| bar.value).max().unwrap_or_default();
    let slot = WIDTH / float(bars.len().max(1));
    let place = |index: usize| slot * (float(index) + 0.5);
    let drawn: Vec<Value> = bars
        .iter()
        .enumerate()
        .filter(|(_, bar)| bar.value > 0)
        .map(|(index, bar)| {
            let height = ((BOTTOM - TOP) * share(bar.value, highest)).max(LEAST);
            let width = slot * 0.72;
            rect(
                bar,
                [place(index) - width / 2.0, BOTTOM - height, width, height],
            )
        })
        .collect();
    let ticks: Vec<Value> = labelled
        .iter()
        .filter_map(|index| {
            let bar = bars.get(*index)?;
            // The first and the last label stay inside the drawing.
            let (x, anchor) = match *index {
                0 => (0.0, "start"),
                index if index + 1 == bars.len() => (WIDTH, "end"),
                index => (place(index), "middle"),
            };
            Some(context! { x => number(x), y => number(HEIGHT - 4.0), text => &bar.label, anchor })
        })
        .collect();
    let most = bars.iter().find(|bar| bar.value == highest);
    let top = most.filter(|bar| bar.value > 0).map(|bar| &bar.said);
    context! {
        top, ticks,
        baseline => number(BOTTOM),
        ceiling => number(TOP),
        ..common(words, bars, drawn, HEIGHT)
    }
}

/// A chart with bars one below the other, the longest first, each with its label above.
pub(crate) fn lying(words: &Words<'_>, bars: Vec<Bar>) -> Value {
    let all = bars.clone();
    let bars = fewer(bars);
    let longest = bars.iter().map(|bar| bar.value).max().unwrap_or_default();
    let room = WIDTH - 34.0;
    let (mut drawn, mut ticks) = (Vec::new(), Vec::new());
    for (index, bar) in bars.iter().enumerate() {
        let y = ROW * float(index);
        let width = (room * share(bar.value, longest)).max(LEAST);
        drawn.push(rect(bar, [0.0, y + 18.0, width, 10.0]));
        ticks.push(
            context! { x => 0, y => number(y + 12.0), text => &bar.label, anchor => "start" },
        );
        ticks.push(context! { x => number(width + 6.0), y => number(y + 27.0), text => &bar.said, anchor => "start", strong => true });
    }
    let height = if bars.is_empty() {
        HEIGHT
    } else {
        ROW * float(bars.len())
    };
    context! { ticks, baseline => number(BOTTOM), ..common(words, &all, drawn, height) }
}

/// The values that every chart has: its words, its bars, and the rows of its table.
fn common(words: &Words<'_>, bars: &[Bar], drawn: Vec<Value>, height: f64) -> Value {
    let said: Vec<String> = bars
        .iter()
        .filter(|bar| bar.value > 0)
        .map(|bar| format!("{}: {}", bar.label, bar.said))
        .collect();
    let empty = said.is_empty();
    let description = if empty {
        words.nothing.to_owned()
    } else {
        format!("{}.", said.join("; "))
    };
    let rows: Vec<Value> = bars
        .iter()
        .filter(|bar| bar.value > 0)
        .map(|bar| context! { label => &bar.label, said => &bar.said })
        .collect();
    context! {
        id => words.id,
        title => &words.title,
        column => words.column,
        nothing => words.nothing,
        look => words.look,
        width => number(WIDTH),
        height => number(height),
        bars => drawn,
        description, empty, rows,
    }
}

/// The longest bars, and one bar for all others.
fn fewer(mut bars: Vec<Bar>) -> Vec<Bar> {
    bars.sort_by(|left, right| {
        right
            .value
            .cmp(&left.value)
            .then_with(|| left.label.cmp(&right.label))
    });
    if bars.len() <= ROWS {
        return bars;
    }
    let rest = bars.split_off(ROWS - 1);
    let value = rest
        .iter()
        .fold(0_u64, |sum, bar| sum.saturating_add(bar.value));
    bars.push(Bar {
        label: format!("{} others", rest.len()),
        value,
        said: value.to_string(),
        marked: true,
    });
    bars
}

fn rect(bar: &Bar, [x, y, width, height]: [f64; 4]) -> Value {
    context! {
        x => number(x), y => number(y), width => number(width), height => number(height),
        tip => format!("{}: {}", bar.label, bar.said),
        marked => bar.marked,
    }
}

/// The part of the whole, between 0 and 1.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    // The rounding is too small for a drawing to show.
    part as f64 / whole as f64
}

fn float(count: usize) -> f64 {
    count as f64
}

/// A length with one digit after the point, which is more than a screen shows.
fn number(length: f64) -> String {
    format!("{length:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, value: u64) -> Bar {
        Bar {
            label: label.to_owned(),
            value,
            said: value.to_string(),
            marked: true,
        }
    }

    fn words() -> Words<'static> {
        Words {
            id: "chart",
            title: "A chart".to_owned(),
            column: "Hour",
            nothing: "Nothing yet.",
            look: "good",
        }
    }

    fn at(value: &Value, path: &[&str]) -> String {
        let mut value = value.clone();
        for key in path {
            value = match key.parse::<usize>() {
                Ok(index) => value.get_item_by_index(index).unwrap(),
                Err(_) => value.get_attr(key).unwrap(),
            };
        }
        value.to_string()
    }

    #[test]
    fn the_highest_bar_reaches_the_top_and_the_others_in_proportion() {
        let chart = upright(&words(), &[bar("a", 50), bar("b", 0), bar("c", 100)], &[0]);
        assert_eq!(at(&chart, &["bars", "1", "y"]), "20.0");
        assert_eq!(at(&chart, &["bars", "1", "height"]), "78.0");
        assert_eq!(at(&chart, &["bars", "0", "height"]), "39.0");
        assert_eq!(at(&chart, &["top"]), "100");
        assert_eq!(at(&chart, &["description"]), "a: 50; c: 100.");
        assert_eq!(chart.get_attr("bars").unwrap().len(), Some(2));
    }

    #[test]
    fn a_little_can_be_seen_beside_much() {
        let chart = upright(&words(), &[bar("a", 1), bar("b", u64::MAX)], &[]);
        assert_eq!(at(&chart, &["bars", "0", "height"]), "2.5");
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        for chart in [
            upright(&words(), &[bar("a", 0)], &[0]),
            lying(&words(), Vec::new()),
        ] {
            assert_eq!(at(&chart, &["empty"]), "True");
            assert_eq!(at(&chart, &["description"]), "Nothing yet.");
            assert_eq!(chart.get_attr("bars").unwrap().len(), Some(0));
        }
    }

    #[test]
    fn what_is_rare_is_one_row_together_and_stays_apart_in_the_table() {
        let bars: Vec<Bar> = (1..=8)
            .map(|value| bar(&value.to_string(), value))
            .collect();
        let chart = lying(&words(), bars);
        assert_eq!(chart.get_attr("bars").unwrap().len(), Some(ROWS));
        assert_eq!(chart.get_attr("rows").unwrap().len(), Some(8));
        assert_eq!(at(&chart, &["bars", "0", "tip"]), "8: 8");
        assert_eq!(at(&chart, &["bars", "4", "tip"]), "4 others: 10");
    }
}
