//! A block's shared memory: bytes, which of them were written, and who touched them in what order.

use std::collections::HashMap;

use super::{
    aligned::Aligned,
    clocks::Clocks,
    mbarriers::Mbarriers,
    private::Request,
    transfer::lanes_of,
    undefined::UndefinedStore,
    warp::CopyArrival,
    words::{Parts, Race, Toucher, Words},
};
use crate::lanes::LANES;

/// Bytes of a piece of [`Shared::written`]: as many as the widest access of a lane has.
const PIECE_BYTES: usize = 32;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bytes: Aligned,
    /// A bit a byte.
    written: Vec<u32>,
    /// The store or copy that put an undefined value at a byte.
    stores: HashMap<u64, UndefinedStore>,
    words: Option<Words>,
    pub(super) clocks: Clocks,
    pub(super) mbarriers: Mbarriers,
    /// Copies that arrive at an `mbarrier` object when they have landed, in the order of their instructions.
    pub(super) arrivals: Vec<CopyArrival>,
}

impl Shared {
    /// Memory of a block of so many warps; `races` says whether it is remembered who touched it.
    pub(super) fn new(bytes: u32, warps: u32, races: bool) -> Self {
        let length = bytes.next_multiple_of(16) as usize;
        Shared {
            bytes: Aligned::new(length),
            written: vec![0; length.div_ceil(PIECE_BYTES)],
            stores: HashMap::new(),
            words: races.then(|| Words::new(length)),
            clocks: Clocks::new(warps),
            mbarriers: Mbarriers::default(),
            arrivals: Vec::new(),
        }
    }

    /// Makes it a new block's.
    pub(super) fn reset(&mut self) {
        self.written.fill(0);
        self.stores.clear();
        self.words.iter_mut().for_each(Words::reset);
        self.clocks.reset();
        self.mbarriers.reset();
        self.arrivals.clear();
    }

    /// The lanes of a mask whose bytes, at a multiple of how many, are not all written.
    #[inline(always)]
    pub(super) fn unwritten(&self, offsets: &[u64; LANES], bytes: u64, mask: u32) -> u32 {
        let mut unwritten = 0;
        for lane in lanes_of(mask) {
            let (piece, inside) = piece(offsets[lane], bytes);
            unwritten |= u32::from(self.written[piece] & inside != inside) << lane;
        }
        unwritten
    }

    #[inline(always)]
    pub(super) fn mark_written(&mut self, offsets: &[u64; LANES], bytes: u64, mask: u32) {
        for lane in lanes_of(mask) {
            let (piece, inside) = piece(offsets[lane], bytes);
            self.written[piece] |= inside;
        }
    }

    /// The bytes of a lane's access that nobody wrote, a bit each.
    pub(super) fn unwritten_bytes(&self, offset: u64, bytes: u64) -> u32 {
        let (piece, inside) = piece(offset, bytes);
        (inside & !self.written[piece]) >> (offset as usize % PIECE_BYTES)
    }

    /// A store of undefined bytes, a bit each: they are again as if nobody had written them.
    pub(super) fn store_undefined(&mut self, offset: u64, undefined: u32, store: UndefinedStore) {
        for byte in lanes_of(undefined) {
            let at = offset + byte as u64;
            self.written[at as usize / PIECE_BYTES] &= !(1 << (at as usize % PIECE_BYTES));
            self.stores.insert(at, store);
        }
    }

    /// The store that put an undefined value at an offset, if one did.
    pub(super) fn undefined_store(&self, offset: u64) -> Option<UndefinedStore> {
        self.stores.get(&offset).copied()
    }

    /// Notes an access of a warp, and gives every lane that nothing orders after an earlier access.
    #[inline(always)]
    pub(super) fn touch(&mut self, request: &Request<'_>) -> Vec<(usize, Race)> {
        self.touch_at(request, self.clocks.time(request.warp))
    }

    /// The same of an access that is done at a time of the warp.
    #[inline(always)]
    pub(super) fn touch_at(&mut self, request: &Request<'_>, time: u32) -> Vec<(usize, Race)> {
        let Request { pc, warp, what, offsets, bytes, mask } = *request;
        let mut races = Vec::new();
        let Some(words) = &mut self.words else { return races };
        let toucher = Toucher::new(&self.clocks, warp, pc, what).at(time);
        let parts = Parts::new(offsets, bytes, mask, what);
        for lanes in parts {
            if words.note(&toucher, &parts, lanes) {
                continue;
            }
            for lane in lanes_of(lanes) {
                let race = words.touch(&self.clocks, &toucher, lane, offsets[lane], bytes);
                races.extend(race.map(|race| (lane, race)));
            }
        }
        races
    }
}

/// The piece that an aligned access is in, and its bytes there.
#[inline(always)]
fn piece(offset: u64, bytes: u64) -> (usize, u32) {
    let inside = ((1u64 << bytes) - 1) << (offset as usize % PIECE_BYTES);
    (offset as usize / PIECE_BYTES, inside as u32)
}
