//! SVG elements of the charts. A chart has a white background of its own, so that it can be read on any page.

use std::fmt::Write;

/// A document `width` wide and `height` high.
pub(crate) fn document(width: f64, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height:.0}\" font-family=\"sans-serif\">\n\
         <rect width=\"{width}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

/// A line of text that begins at `x`, on the baseline `y`.
pub(crate) fn text(body: &mut String, x: f64, y: f64, size: u32, text: &str) {
    let _ = writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"#222\">{}</text>",
        escape(text)
    );
}

/// The same, ending at `x`.
pub(crate) fn text_before(body: &mut String, x: f64, y: f64, size: u32, text: &str) {
    text_in(body, x, y, size, "#222", text);
}

/// The same in a colour.
pub(crate) fn text_in(body: &mut String, x: f64, y: f64, size: u32, color: &str, text: &str) {
    let _ = writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{color}\" text-anchor=\"end\">{}</text>",
        escape(text)
    );
}

/// A line of text that says what is below it.
pub(crate) fn heading(body: &mut String, x: f64, y: f64, size: u32, text: &str) {
    let _ = writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" font-weight=\"bold\" fill=\"#222\">{}</text>",
        escape(text)
    );
}

/// What may stand between tags and in attributes.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
