//! Results as an SVG chart: tokens a second with other programs' and the machine's limits, and decode over depth.

mod bars;
mod depths;
mod results;

pub(super) use self::results::Results;
use crate::output::svg::{document, text};

const WIDTH: f64 = 860.0;
const MARGIN: f64 = 20.0;
/// The limit that the machine sets.
const LIMIT_COLOR: &str = "#cc3311";

/// The drawing.
pub(super) fn svg(results: &Results) -> String {
    let mut body = String::new();
    let title = if results.model.is_empty() { "tinyllm" } else { &results.model };
    text(&mut body, MARGIN, 30.0, 18, &format!("{title}: tokens a second"));
    let mut y = bars::draw(&mut body, results, 52.0);
    y = depths::draw(&mut body, results, y + 14.0);
    let origin = [&results.machine, &results.date, &results.commit].map(String::as_str);
    let origin = origin.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    if !origin.is_empty() {
        text(&mut body, MARGIN, y + 10.0, 12, &origin);
        y += 16.0;
    }
    document(WIDTH, y + 10.0, &body)
}

/// "1 thread", "2 threads".
fn threads_label(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}
