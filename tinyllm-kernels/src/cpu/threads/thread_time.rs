//! CPU time of the calling thread.

use std::time::Duration;

/// Since the thread began; 0 where the system does not say.
pub(super) fn of_this_thread() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one `timespec`, which is borrowed for the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    match (result, u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec)) {
        (0, Ok(seconds), Ok(nanoseconds)) => Duration::new(seconds, nanoseconds),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use std::{hint, thread, time::Instant};

    use super::*;

    #[test]
    fn work_counts_and_sleep_does_not() {
        let before = of_this_thread();
        thread::sleep(Duration::from_millis(200));
        let slept = of_this_thread() - before;
        assert!(slept < Duration::from_millis(100), "{slept:?}");
        let start = Instant::now();
        while of_this_thread() - before - slept < Duration::from_millis(5) {
            assert!(start.elapsed() < Duration::from_secs(60));
            hint::spin_loop();
        }
        assert!(start.elapsed() >= Duration::from_millis(4));
    }
}
