//! Numbers for everything that the driver makes.

/// Gives each number once.
#[derive(Debug)]
pub(super) struct Handles {
    last: u64,
}

impl Default for Handles {
    /// The first ones are above the streams' handles that the driver defines.
    fn default() -> Self {
        Handles { last: 0x1000 }
    }
}

impl Handles {
    /// A number that nothing else has.
    pub(super) fn next(&mut self) -> u64 {
        self.last += 0x10;
        self.last
    }
}
