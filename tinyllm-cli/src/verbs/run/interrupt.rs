//! Ctrl-C stops the answer; a second one, before the first was handled, ends the program.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;

/// The exit status of a program that Ctrl-C ended, as shells have it: 128 and the signal's number.
pub(super) const INTERRUPTED: u8 = 130;

/// Whether Ctrl-C was pressed since the last answer began.
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over Ctrl-C for the rest of the program.
    pub(super) fn install() -> anyhow::Result<Self> {
        let pressed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&pressed);
        ctrlc::set_handler(move || {
            // The first may wait for a long step.
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED.into());
            }
        })
        .context("Ctrl-C")?;
        Ok(Interrupt(pressed))
    }

    /// An answer begins: what was pressed before does not count.
    pub(super) fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether to go on.
    pub(super) fn flow(&self) -> ControlFlow<()> {
        if self.0.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
