//! What a chart is drawn from: rows as `-o json` prints them, alone or in a file of `cargo xtask bench`.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::input;

/// A file of results.
#[derive(Default, Deserialize)]
pub(in crate::verbs::bench) struct Results {
    #[serde(default)]
    pub(super) model: String,
    #[serde(default)]
    pub(super) machine: String,
    #[serde(default)]
    pub(super) date: String,
    #[serde(default)]
    pub(super) commit: String,
    pub(super) rows: Vec<Measured>,
    #[serde(default)]
    pub(super) peers: Vec<Peer>,
}

/// A row of this program.
#[derive(Deserialize)]
pub(super) struct Measured {
    /// `pp512`, `tg128`.
    pub(super) test: String,
    pub(super) threads: usize,
    pub(super) depth: usize,
    pub(super) batch: usize,
    pub(super) tokens_per_s: f64,
    pub(super) bytes_per_token: f64,
    #[serde(default)]
    pub(super) read_bandwidth_bytes_per_s: Option<f64>,
    /// Decode: the share of the read bandwidth.
    #[serde(default)]
    bandwidth_fraction: Option<f64>,
    /// Prefill: the share of the peak of int16 dot products.
    #[serde(default)]
    dot_fraction: Option<f64>,
}

/// A row of another program.
#[derive(Deserialize)]
pub(super) struct Peer {
    pub(super) contender: String,
    pub(super) test: String,
    pub(super) threads: usize,
    pub(super) depth: usize,
    pub(super) tokens_per_s: f64,
    /// How many times faster this program was in the same run.
    #[serde(default)]
    pub(super) ratio: Option<f64>,
}

/// What is compared: prefill of one length, or decode at one depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Prefill { tokens: usize, depth: usize },
    Decode { depth: usize },
}

impl Phase {
    /// Parses `pp512` or `tg128`.
    fn of(test: &str, depth: usize) -> Option<Self> {
        let number = |text: &str| text.parse::<usize>().ok();
        let prefill = |tokens| Phase::Prefill { tokens, depth };
        let decode = |_| Phase::Decode { depth };
        let tokens = test.strip_prefix("pp").and_then(number);
        tokens.map(prefill).or_else(|| test.strip_prefix("tg").and_then(number).map(decode))
    }
}

impl Measured {
    pub(super) fn phase(&self) -> Option<Phase> {
        Phase::of(&self.test, self.depth)
    }

    /// The machine's limit: read bandwidth (decode), peak of int16 dot products (prefill).
    pub(super) fn limit_tokens_per_s(&self) -> Option<f64> {
        match self.phase()? {
            // The fraction is relative to limits around each segment, the bandwidth is a median over all.
            Phase::Decode { .. } => match self.bandwidth_fraction {
                Some(fraction) if fraction > 0.0 => Some(self.tokens_per_s / fraction),
                _ => self.read_bandwidth_bytes_per_s.map(|bandwidth| bandwidth / self.bytes_per_token),
            },
            Phase::Prefill { .. } => self.dot_fraction.map(|fraction| self.tokens_per_s / fraction),
        }
    }
}

impl Peer {
    pub(super) fn phase(&self) -> Option<Phase> {
        Phase::of(&self.test, self.depth)
    }
}

impl Results {
    /// Of rows as JSON.
    pub(in crate::verbs::bench) fn of_rows(model: String, rows: &[Value]) -> anyhow::Result<Self> {
        let rows = rows.iter().map(Measured::deserialize).collect::<Result<_, _>>()?;
        Results { model, rows, ..Results::default() }.checked()
    }

    /// Reads a list of rows, or an object that has them.
    pub(in crate::verbs::bench) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = input::text(path, input::MAX_SMALL_BYTES)?;
        let read = || -> anyhow::Result<Results> {
            let results = if text.trim_start().starts_with('[') {
                Results { rows: serde_json::from_str(&text)?, ..Results::default() }
            } else {
                serde_json::from_str(&text)?
            };
            results.checked()
        };
        read().with_context(|| path.display().to_string())
    }

    /// Says which field cannot be drawn.
    fn checked(self) -> anyhow::Result<Self> {
        ensure!(self.rows.iter().any(|row| row.batch == 1), "no row of one sequence: nothing to draw");
        let positive = |place: &str, field: &str, value: f64| {
            ensure!(value > 0.0 && value.is_finite(), "{place}.{field} is {value}: it must be above 0");
            Ok(())
        };
        let phase = |place: &str, test: &str, phase: Option<Phase>| {
            ensure!(phase.is_some(), "{place}.test is {test:?}: it must be pp or tg and a number of tokens");
            Ok(())
        };
        for (index, row) in self.rows.iter().enumerate() {
            let place = format!("rows[{index}]");
            phase(&place, &row.test, row.phase())?;
            positive(&place, "tokens_per_s", row.tokens_per_s)?;
            positive(&place, "bytes_per_token", row.bytes_per_token)?;
            let bandwidth = row.read_bandwidth_bytes_per_s;
            bandwidth
                .map_or(Ok(()), |bandwidth| positive(&place, "read_bandwidth_bytes_per_s", bandwidth))?;
            row.dot_fraction.map_or(Ok(()), |fraction| positive(&place, "dot_fraction", fraction))?;
        }
        for (index, peer) in self.peers.iter().enumerate() {
            let place = format!("peers[{index}]");
            phase(&place, &peer.test, peer.phase())?;
            positive(&place, "tokens_per_s", peer.tokens_per_s)?;
        }
        Ok(self)
    }
}
