//! Read timeouts: how long a server may be silent, and how slowly it may send.

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

/// Seconds that a server may be silent.
const DEFAULT_SECONDS: u64 = 30;

/// Bytes that must arrive in that time: less than a tenth of what the slowest connections deliver.
const MIN_BYTES: u64 = 1024;

/// The longest time that a server may be silent: `HF_HUB_DOWNLOAD_TIMEOUT` in seconds, which the hub's own client reads
/// too.
pub(super) fn from_environment() -> Duration {
    let seconds = std::env::var("HF_HUB_DOWNLOAD_TIMEOUT").ok().and_then(|text| text.trim().parse().ok());
    Duration::from_secs(seconds.filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_SECONDS))
}

/// A body with a minimum rate. The connection's own timeout catches silence; this one catches bytes that trickle.
pub(super) struct Steady<R> {
    body: R,
    limit: Duration,
    waited: Duration,
    bytes: u64,
}

impl<R> Steady<R> {
    pub(super) fn new(body: R, limit: Duration) -> Self {
        Steady { body, limit, waited: Duration::ZERO, bytes: 0 }
    }

    /// Counts what a read brought, and how long it took.
    fn count(&mut self, bytes: u64, waited: Duration) -> io::Result<()> {
        self.bytes += bytes;
        self.waited += waited;
        if self.waited < self.limit {
            return Ok(());
        }
        let brought = std::mem::take(&mut self.bytes);
        let seconds = std::mem::take(&mut self.waited).as_secs();
        if brought >= MIN_BYTES {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("{brought} bytes came in {seconds} s")))
    }
}

impl<R> Steady<R> {
    /// Words the timeout's error.
    fn explain(&self, error: io::Error) -> io::Error {
        let source = error.get_ref().and_then(|source| source.downcast_ref::<ureq::Error>());
        if !matches!(source, Some(ureq::Error::Timeout(_))) {
            return error;
        }
        io::Error::new(io::ErrorKind::TimedOut, format!("nothing came for {} s", self.limit.as_secs()))
    }
}

impl<R: Read> Read for Steady<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = Instant::now();
        let count = self.body.read(buffer).map_err(|error| self.explain(error))?;
        if count > 0 {
            self.count(count as u64, start.elapsed())?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Steady;

    #[test]
    fn drops_end_and_slow_streams_go_on() {
        let mut drops = Steady::new((), Duration::from_secs(30));
        let second = Duration::from_secs(1);
        assert!((0..29).all(|_| drops.count(2, second).is_ok()));
        assert_eq!(drops.count(2, second).map_err(|error| error.kind()), Err(std::io::ErrorKind::TimedOut));
        let mut slow = Steady::new((), Duration::from_secs(30));
        assert!((0..1000).all(|_| slow.count(100, second).is_ok()));
    }
}
