//! Bars of tokens a second: a section for each phase (prefill, decode at a depth), in it a group for each number of
//! threads, in it a bar for each program. A line marks the machine's limit.

use std::fmt::Write;

use super::{
    LIMIT_COLOR, MARGIN, WIDTH,
    results::{Measured, Peer, Phase, Results},
    threads_label,
};
use crate::output::svg::{escape, heading, text, text_before, text_in};

const BAR_HEIGHT: f64 = 16.0;
const BAR_STEP: f64 = 21.0;
const GROUP_GAP: f64 = 7.0;
/// Space for the figures to the right of the longest bar.
const FIGURES_WIDTH: f64 = 190.0;
const FONT_SIZE: u32 = 13;
/// Width of a character of that size, on average.
const CHARACTER: f64 = 7.0;
/// The depths whose decoding is compared; all of them are in the panel below.
const DEPTHS: [usize; 2] = [0, 2048];

const OWN_COLOR: &str = "#4477aa";
const PEER_COLOR: &str = "#bbbbbb";

/// One bar.
struct Bar {
    label: String,
    tokens_per_s: f64,
    limit_tokens_per_s: Option<f64>,
    /// Text after the speed.
    note: String,
    color: &'static str,
    /// Of what is written on it.
    text_color: &'static str,
}

impl Bar {
    fn own(row: &Measured) -> Self {
        let limit_tokens_per_s = row.limit_tokens_per_s();
        let fraction = |limit: f64| format!("{:.2} of the limit", row.tokens_per_s / limit);
        Bar {
            label: "tinyllm".into(),
            tokens_per_s: row.tokens_per_s,
            limit_tokens_per_s,
            note: limit_tokens_per_s.map_or_else(String::new, fraction),
            color: OWN_COLOR,
            text_color: "#fff",
        }
    }

    fn peer(peer: &Peer) -> Self {
        Bar {
            label: peer.contender.clone(),
            tokens_per_s: peer.tokens_per_s,
            limit_tokens_per_s: None,
            note: peer.ratio.map_or_else(String::new, |ratio| format!("in turns {ratio:.2}×")),
            color: PEER_COLOR,
            text_color: "#222",
        }
    }

    /// How far to the right it reaches.
    fn extent(&self) -> f64 {
        self.tokens_per_s.max(self.limit_tokens_per_s.unwrap_or(0.0))
    }
}

/// Draws all sections; where the next thing may begin.
pub(super) fn draw(body: &mut String, results: &Results, top: f64) -> f64 {
    let labels = results.peers.iter().map(|peer| peer.contender.chars().count());
    let left = MARGIN + 76.0 + CHARACTER * labels.max().unwrap_or(0).clamp(7, 30) as f64;
    let mut y = key(body, results, top);
    if results.peers.iter().any(|peer| peer.ratio.is_some()) {
        let words = "×: tinyllm's speed over the other's where the two ran in turns, in another run than that of tinyllm's bar";
        text(body, MARGIN, y + 4.0, FONT_SIZE, words);
        y += 22.0;
    }
    for phase in phases(results) {
        heading(body, MARGIN, y + 14.0, FONT_SIZE, &title(phase));
        y = section(body, &groups(results, phase), left, y + 24.0) + 8.0;
    }
    y
}

/// What the limits are, where there are any.
fn key(body: &mut String, results: &Results, y: f64) -> f64 {
    let has_limit = |is_wanted: fn(&Phase) -> bool| {
        let rows = results.rows.iter().filter(|row| row.limit_tokens_per_s().is_some());
        rows.filter_map(Measured::phase).any(|phase| is_wanted(&phase))
    };
    let mut limits = Vec::new();
    if has_limit(|phase| matches!(phase, Phase::Decode { .. })) {
        limits.push("read bandwidth over bytes a token (decode)");
    }
    if has_limit(|phase| matches!(phase, Phase::Prefill { .. })) {
        limits.push("peak of int16 dot products (prefill)");
    }
    if limits.is_empty() {
        return y;
    }
    limit_line(body, MARGIN + 4.0, y - 8.0, 14.0);
    text(body, MARGIN + 14.0, y + 4.0, FONT_SIZE, &format!("the machine's limit: {}", limits.join(", ")));
    y + 22.0
}

/// The phases to draw, in the order of the rows: prefill from an empty cache, decode at [`DEPTHS`].
fn phases(results: &Results) -> Vec<Phase> {
    let mut phases = Vec::new();
    for phase in results.rows.iter().filter(|row| row.batch == 1).filter_map(Measured::phase) {
        let is_shown = match phase {
            Phase::Prefill { depth, .. } => depth == 0,
            Phase::Decode { depth } => DEPTHS.contains(&depth),
        };
        if is_shown && !phases.contains(&phase) {
            phases.push(phase);
        }
    }
    phases
}

fn title(phase: Phase) -> String {
    match phase {
        Phase::Prefill { tokens, .. } => format!("prompt of {tokens} tokens"),
        Phase::Decode { depth: 0 } => "decoding".into(),
        Phase::Decode { depth } => format!("decoding after {depth} tokens"),
    }
}

/// For each number of threads, this program and then the others.
fn groups(results: &Results, phase: Phase) -> Vec<(usize, Vec<Bar>)> {
    let own = results.rows.iter().filter(|row| row.batch == 1 && row.phase() == Some(phase));
    let group = |row: &Measured| {
        let is_peer = |peer: &&Peer| peer.threads == row.threads && peer.phase() == Some(phase);
        let peers = results.peers.iter().filter(is_peer).map(Bar::peer);
        (row.threads, std::iter::once(Bar::own(row)).chain(peers).collect())
    };
    own.map(group).collect()
}

/// Groups to one scale.
fn section(body: &mut String, groups: &[(usize, Vec<Bar>)], left: f64, top: f64) -> f64 {
    let longest = groups.iter().flat_map(|(_, bars)| bars).map(Bar::extent).fold(0.0, f64::max);
    let scale = (WIDTH - MARGIN - FIGURES_WIDTH - left) / longest;
    let mut y = top;
    for (threads, bars) in groups {
        text(body, MARGIN, y + 12.5, FONT_SIZE, &threads_label(*threads));
        for bar in bars {
            draw_bar(body, bar, left, y, scale);
            y += BAR_STEP;
        }
        y += GROUP_GAP;
    }
    y
}

fn draw_bar(body: &mut String, bar: &Bar, left: f64, y: f64, scale: f64) {
    text_before(body, left - 8.0, y + 12.5, FONT_SIZE, &bar.label);
    let figures = format!("{:.1}", bar.tokens_per_s);
    let _ = writeln!(
        body,
        "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{}\">\
         <title>{}: {figures} tokens/s</title></rect>",
        bar.tokens_per_s * scale,
        bar.color,
        escape(&bar.label),
    );
    if let Some(limit) = bar.limit_tokens_per_s {
        limit_line(body, left + limit * scale, y - 2.0, BAR_HEIGHT + 4.0);
    }
    // Inside the bar, so that it is not read as the limit's figure; to its right where the bar is too short.
    let end = left + bar.tokens_per_s * scale;
    let (baseline, right) = (y + 12.5, left + bar.extent() * scale + 8.0);
    if end - left > CHARACTER * (figures.len() + 2) as f64 {
        text_in(body, end - 6.0, baseline, FONT_SIZE, bar.text_color, &figures);
        text(body, right, baseline, FONT_SIZE, &bar.note);
    } else {
        let words = if bar.note.is_empty() { figures } else { format!("{figures} ({})", bar.note) };
        text(body, right, baseline, FONT_SIZE, &words);
    }
}

fn limit_line(body: &mut String, x: f64, y: f64, height: f64) {
    let _ = writeln!(
        body,
        "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"{LIMIT_COLOR}\" stroke-width=\"2.5\"/>",
        y + height
    );
}
