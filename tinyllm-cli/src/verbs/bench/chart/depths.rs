//! Milliseconds a token over the tokens in the cache: measured, and what reading weights, keys and values takes at
//! least.

use std::fmt::Write;

use super::{
    MARGIN, WIDTH,
    results::{Measured, Phase, Results},
    threads_label,
};
use crate::output::svg::{heading, text, text_before};

const HEIGHT: f64 = 230.0;
const LEFT: f64 = MARGIN + 44.0;
const RIGHT: f64 = WIDTH - MARGIN - 16.0;
const FONT_SIZE: u32 = 13;
/// By number of threads, in the order of the rows.
const COLORS: [&str; 4] = ["#4477aa", "#228833", "#aa3377", "#ee8866"];

/// A number of threads: `(depth, measured ms, least ms)`, by depth.
struct Series {
    threads: usize,
    points: Vec<(f64, f64, f64)>,
}

/// Draws the panel where decoding was measured at several depths; where the next thing may begin.
pub(super) fn draw(body: &mut String, results: &Results, top: f64) -> f64 {
    let series = series(results);
    let points = || series.iter().flat_map(|series| &series.points);
    if !series.iter().any(|series| series.points.len() > 1) {
        return top;
    }
    heading(body, MARGIN, top + 14.0, FONT_SIZE, "decoding: milliseconds a token over the tokens before it");
    let plot_top = key(body, &series, top + 36.0) + 4.0;
    let bottom = plot_top + HEIGHT;
    let (x_step, x_end) = axis(points().map(|point| point.0).fold(0.0, f64::max), 8);
    let (y_step, y_end) = axis(points().map(|point| point.1.max(point.2)).fold(0.0, f64::max), 5);
    let x = |depth: f64| LEFT + depth / x_end * (RIGHT - LEFT);
    let y = |ms: f64| bottom - ms / y_end * HEIGHT;
    for tick in ticks(y_step, y_end) {
        line(body, &[(LEFT, y(tick)), (RIGHT, y(tick))], "#dddddd", "stroke-width=\"1\"");
        text_before(body, LEFT - 8.0, y(tick) + 4.5, FONT_SIZE, &tick.to_string());
    }
    for tick in ticks(x_step, x_end) {
        line(body, &[(x(tick), bottom), (x(tick), bottom + 5.0)], "#888888", "stroke-width=\"1\"");
        let half = 3.7 * tick.to_string().len() as f64;
        text(body, x(tick) - half, bottom + 19.0, FONT_SIZE, &tick.to_string());
    }
    for (series, color) in series.iter().zip(COLORS.iter().cycle()) {
        let at = |ms: fn(&(f64, f64, f64)) -> f64| -> Vec<(f64, f64)> {
            series.points.iter().map(|point| (x(point.0), y(ms(point)))).collect()
        };
        line(body, &at(|point| point.2), color, LEAST);
        let measured = at(|point| point.1);
        line(body, &measured, color, MEASURED);
        for ((cx, cy), (depth, ms, least)) in measured.iter().zip(&series.points) {
            let _ = writeln!(
                body,
                "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"4\" fill=\"{color}\"><title>{}, {depth} tokens: {ms:.2} ms, \
                 at least {least:.2}</title></circle>",
                threads_label(series.threads)
            );
        }
    }
    bottom + 30.0
}

const MEASURED: &str = "stroke-width=\"2.5\"";
const LEAST: &str = "stroke-width=\"2\" stroke-dasharray=\"6 4\"";

/// What each line is.
fn key(body: &mut String, series: &[Series], y: f64) -> f64 {
    let mut x = MARGIN;
    let mut entry = |color: &str, style: &str, label: &str| {
        line(body, &[(x, y - 4.0), (x + 26.0, y - 4.0)], color, style);
        text(body, x + 32.0, y, FONT_SIZE, label);
        x += 32.0 + 7.0 * label.len() as f64 + 22.0;
    };
    for (series, color) in series.iter().zip(COLORS.iter().cycle()) {
        entry(color, MEASURED, &threads_label(series.threads));
    }
    entry("#666666", LEAST, "weights, keys and values over read bandwidth");
    y + 8.0
}

fn series(results: &Results) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    let is_decode = |row: &&Measured| matches!(row.phase(), Some(Phase::Decode { .. })) && row.batch == 1;
    for row in results.rows.iter().filter(is_decode) {
        let Some(limit) = row.limit_tokens_per_s() else { continue };
        let point = (row.depth as f64, 1e3 / row.tokens_per_s, 1e3 / limit);
        match all.iter_mut().find(|series| series.threads == row.threads) {
            Some(series) => series.points.push(point),
            None => all.push(Series { threads: row.threads, points: vec![point] }),
        }
    }
    for series in &mut all {
        series.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    all
}

/// A round step, and the multiple of it that holds `largest`, in at most `count` steps.
fn axis(largest: f64, count: usize) -> (f64, f64) {
    let least = (largest / count as f64).max(1e-3);
    let power = 10f64.powf(least.log10().floor());
    let step =
        [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= least);
    let step = step.unwrap_or(10.0 * power);
    (step, step * (largest / step).ceil().max(1.0))
}

fn ticks(step: f64, end: f64) -> impl Iterator<Item = f64> {
    // Multiples of a decimal step, without binary rounding errors.
    (0..=(end / step).round() as usize).map(move |index| (index as f64 * step * 1e6).round() / 1e6)
}

fn line(body: &mut String, points: &[(f64, f64)], color: &str, style: &str) {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        body,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" {style}/>",
        points.join(" ")
    );
}
