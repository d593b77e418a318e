//! Panics of libraries as errors: where a hostile file makes a parser, a regular expression or a template engine panic,
//! the panic becomes an error of that file.
//!
//! The process's panic hook prints a panic before it can be caught. [`catch`] therefore wraps the current hook, once in
//! the life of the process: the wrapper is silent for a thread inside [`catch`] and passes every other panic on. A hook
//! that the embedding program sets later prints these panics; nothing else changes.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
    thread,
};

thread_local! {
    /// How many calls of [`catch`] this thread is in.
    static CATCHING: Cell<usize> = const { Cell::new(0) };
}

/// The result of `work`, or the message it panicked with. What `work` borrows mutably must not be used after a panic,
/// unless it is in order at every point where the library can panic.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    silence_this_thread();
    CATCHING.set(CATCHING.get() + 1);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(CATCHING.get() - 1);
    outcome.map_err(|payload| words(payload.as_ref()))
}

fn silence_this_thread() {
    static HOOK: Once = Once::new();
    // A thread that unwinds may not touch the hook; the panic that is caught next is then printed once.
    if HOOK.is_completed() || thread::panicking() {
        return;
    }
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A thread that ends has no `CATCHING` left, and is not inside `catch`.
            if CATCHING.try_with(Cell::get).unwrap_or(0) == 0 {
                before(info);
            }
        }));
    });
}

/// The panic's message, truncated.
fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given");
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_thread_goes_on() {
        assert_eq!(catch(|| 7), Ok(7));
        assert_eq!(catch(|| -> u8 { panic!("a {}", "reason") }), Err("a reason".into()));
        assert_eq!(catch(|| catch(|| panic!("inner"))), Ok(Err("inner".into())));
        assert_eq!(catch(|| -> u8 { panic!("{}", "x".repeat(10_000)) }).map_err(|text| text.len()), Err(200));
        assert_eq!(CATCHING.get(), 0);
    }
}
