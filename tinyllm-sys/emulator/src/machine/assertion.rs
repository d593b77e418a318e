//! `assert` in kernels: what `__assertfail` is given, said as a GPU says it, and the end of the kernel.

use super::{Fault, context::Context, transfer::lanes_of, warp::Warp};
use crate::{
    kernel::AssertFail,
    report::{Kind, Thread},
};

impl Context<'_> {
    /// Says for each lane what has failed.
    pub(super) fn assertion_failed(&mut self, warp: &Warp, pc: u32, mask: u32, given: &AssertFail) -> Fault {
        let mut first = None;
        for lane in lanes_of(mask) {
            match self.failed_assertion(warp, lane, given) {
                Ok((line, message)) => {
                    self.asserted.extend_from_slice(line.as_bytes());
                    first.get_or_insert((lane, message));
                }
                Err(fault) => return fault,
            }
        }
        if let Some((lane, message)) = first {
            self.find_at(Kind::Trap, pc, warp.index, lane, format!("assertion `{message}` failed"), None);
        }
        Fault::ASSERT
    }

    /// What a lane says, and the expression that is false.
    fn failed_assertion(
        &self,
        warp: &Warp,
        lane: usize,
        given: &AssertFail,
    ) -> Result<(String, String), Fault> {
        let argument = |at: u32, bytes: usize| {
            let start = lane * warp.local.of_thread as usize + at as usize;
            let mut value = [0; 8];
            value[..bytes].copy_from_slice(&warp.local.bytes.as_slice()[start..start + bytes]);
            u64::from_le_bytes(value)
        };
        let text = |at: u32| self.plain_text(warp, lane, argument(at, 8));
        let (message, file, function) = (text(given.message)?, text(given.file)?, text(given.function)?);
        let Thread { block: [bx, by, bz], thread: [x, y, z] } = self.thread(warp.index, lane);
        let line = argument(given.line, 4);
        let said = format!(
            "{file}:{line}: {function}: block: [{bx},{by},{bz}], thread: [{x},{y},{z}] Assertion `{message}` failed.\n"
        );
        Ok((said, message))
    }
}
