//! Signals that end the program: staging folders are removed first.

use std::{
    fs, io,
    sync::{Mutex, PoisonError},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use super::{folders, remove};

/// Whether a thread waits for them.
static IS_WATCHED: Mutex<bool> = Mutex::new(false);

/// Starts handling signals: staging folders are removed, then the signal's default action ends the program.
pub(super) fn watch() -> io::Result<()> {
    let mut is_watched = IS_WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    if *is_watched {
        return Ok(());
    }
    let ignored = ignored();
    let watched = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| (ignored >> (signal - 1)) & 1 == 0);
    let mut signals = Signals::new(watched)?;
    let wait = move || {
        for signal in signals.forever() {
            // Kept until the end: whoever waits for it waits for that.
            let folders = folders();
            for folder in folders.iter() {
                remove(folder);
            }
            let _ = emulate_default_handler(signal);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait)?;
    *is_watched = true;
    Ok(())
}

/// The signals that the program was started to ignore (`nohup`, a background job of a script), a bit each, from 1 on.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
