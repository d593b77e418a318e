//! Signals that end the program: the folder is removed first.

use std::{fs, io, sync::Arc};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use super::{State, remove};

/// Removes what `state` says when a signal comes, and lets the signal end the program.
pub(super) fn watch(state: Arc<State>) -> io::Result<()> {
    let ignored = ignored();
    let watched = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = Signals::new(watched)?;
    let wait = move || {
        for signal in signals.forever() {
            let mut path = state.lock();
            if let Some(folder) = path.take() {
                remove(&folder);
            }
            // Whoever waits for the state waits for the end.
            let _ = emulate_default_handler(signal);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}

/// The signals that the program was started to ignore (`nohup`, a background job of a script), a bit each, from 1 on.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
