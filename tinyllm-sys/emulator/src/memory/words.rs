//! Memory that several threads may race on, always in whole words of 32 bits.
//!
//! Blocks of a kernel run on several threads, and a kernel may race by mistake: that is what it is run here for. To Rust a race
//! is one of atomics, and not undefined, only where all who take part use the same bytes. So nothing here is narrower or
//! wider than a word: a narrower store puts its part into the word as it is then, and what is wider is two words, of which a
//! racing thread may see one alone. Atomics of 64 bits exclude each other; where others see what they leave, blocks run one
//! after the other.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering::Relaxed},
};

/// Bytes of a word.
pub(crate) const WORD_BYTES: usize = size_of::<u32>();

/// Held while 64 bits change.
static WIDE: Mutex<()> = Mutex::new(());

/// The word at a place.
///
/// # Safety
/// The place is a multiple of a word, in memory that lives and is used through atomics of words alone by all that use it at
/// the same time.
#[inline(always)]
unsafe fn whole<'a>(place: *mut u8) -> &'a AtomicU32 {
    // SAFETY: the caller's contract is what is asked for.
    unsafe { AtomicU32::from_ptr(place.cast()) }
}

/// The word that a place is in, and how many bits of it come before.
///
/// # Safety
/// As [`whole`], but for the place: its memory begins at a multiple of a word and is whole words long.
#[inline(always)]
unsafe fn around<'a>(place: *mut u8) -> (&'a AtomicU32, u32) {
    let before = place.addr() % WORD_BYTES;
    // SAFETY: the word begins and ends inside of the memory, which is whole words.
    (unsafe { whole(place.wrapping_sub(before)) }, 8 * before as u32)
}

/// Loads `BYTES` bytes, 1, 2, 4 or 8, at a multiple of as many.
///
/// # Safety
/// As [`around`], for all of these bytes.
#[inline(always)]
pub(crate) unsafe fn load<const BYTES: usize>(place: *mut u8) -> u64 {
    // SAFETY: the caller's contract; a multiple of 4 or 8 bytes is one of a word, as is what follows it.
    unsafe {
        let next = || whole(place.wrapping_add(WORD_BYTES)).load(Relaxed);
        match BYTES {
            4 => u64::from(whole(place).load(Relaxed)),
            8 => u64::from(whole(place).load(Relaxed)) | u64::from(next()) << 32,
            _ => {
                let (word, before) = around(place);
                u64::from(word.load(Relaxed) >> before & part(BYTES))
            }
        }
    }
}

/// Stores `BYTES` bytes, 1, 2, 4 or 8, at a multiple of as many.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub(crate) unsafe fn store<const BYTES: usize>(place: *mut u8, value: u64) {
    // SAFETY: as in `load`.
    unsafe {
        match BYTES {
            4 => whole(place).store(value as u32, Relaxed),
            8 => {
                whole(place).store(value as u32, Relaxed);
                whole(place.wrapping_add(WORD_BYTES)).store((value >> 32) as u32, Relaxed);
            }
            _ => {
                let (word, before) = around(place);
                let value = value as u32 & part(BYTES);
                change(word, |word| word & !(part(BYTES) << before) | value << before);
            }
        }
    }
}

/// The lowest bits of a word, so many bytes of them.
const fn part(bytes: usize) -> u32 {
    u32::MAX >> (32 - 8 * bytes)
}

/// Changes `bytes` bytes, 2, 4 or 8, at once, and gives what was there.
///
/// # Safety
/// As [`load`].
pub(crate) unsafe fn update(place: *mut u8, bytes: u32, to: impl Fn(u64) -> u64) -> u64 {
    // SAFETY: as in `load`.
    unsafe {
        if bytes == 8 {
            let _alone = WIDE.lock().unwrap_or_else(PoisonError::into_inner);
            let old = load::<8>(place);
            store::<8>(place, to(old));
            return old;
        }
        let (word, before) = around(place);
        let part = part(bytes as usize);
        let value = |word: u32| u64::from(word >> before & part);
        let old = change(word, |word| word & !(part << before) | (to(value(word)) as u32 & part) << before);
        value(old)
    }
}

/// Changes a word, and gives what it was.
#[inline(always)]
fn change(word: &AtomicU32, to: impl Fn(u32) -> u32) -> u32 {
    let mut old = word.load(Relaxed);
    while let Err(now) = word.compare_exchange_weak(old, to(old), Relaxed, Relaxed) {
        old = now;
    }
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_at_its_place() {
        let mut words = [0u32; 4];
        let base = words.as_mut_ptr().cast::<u8>();
        let at = |offset: usize| base.wrapping_add(offset);
        // SAFETY: four words, used by this test alone.
        unsafe {
            store::<8>(at(0), 0x0706_0504_0302_0100);
            store::<8>(at(8), 0x0f0e_0d0c_0b0a_0908);
            for offset in 0..16 {
                assert_eq!(load::<1>(at(offset)), offset as u64);
            }
            for (offset, value) in [(3, 0x33), (9, 0x99)] {
                store::<1>(at(offset), 0xff00 | value);
            }
            store::<2>(at(6), 0xffff_6666);
            store::<4>(at(12), 0xffff_ffff_cccc_cccc);
            assert_eq!((load::<8>(at(0)), load::<8>(at(8))), (0x6666_0504_3302_0100, 0xcccc_cccc_0b0a_9908));
            assert_eq!((load::<2>(at(10)), load::<4>(at(8))), (0x0b0a, 0x0b0a_9908));
            assert_eq!(update(at(10), 2, |old| old + 0xf_f00f), 0x0b0a);
            assert_eq!(update(at(4), 4, |old| old + 0xf_0000_0001), 0x6666_0504);
            assert_eq!(update(at(8), 8, |old| old << 8), 0xcccc_cccc_fb19_9908);
            assert_eq!((load::<8>(at(0)), load::<8>(at(8))), (0x6666_0505_3302_0100, 0xcccc_ccfb_1999_0800));
        }
    }

    #[test]
    fn threads_that_store_beside_each_other_lose_nothing() {
        const ROUNDS: u64 = 20_000;
        let memory = [const { AtomicU32::new(0) }; 3];
        let base = memory.as_ptr().expose_provenance();
        let at = |offset| std::ptr::with_exposed_provenance_mut::<u8>(base + offset);
        // SAFETY: three words that live until the threads have ended; they are used through words alone.
        std::thread::scope(|scope| unsafe {
            scope.spawn(|| (1..=ROUNDS).for_each(|round| store::<1>(at(0), round)));
            scope.spawn(|| (1..=ROUNDS).for_each(|round| store::<1>(at(1), round)));
            scope.spawn(|| (1..=ROUNDS).for_each(|_| _ = update(at(2), 2, |old| old + 1)));
            scope.spawn(|| (1..=ROUNDS).for_each(|_| _ = update(at(4), 8, |old| old + (1 << 31))));
            scope.spawn(|| (1..=ROUNDS).for_each(|_| _ = update(at(4), 8, |old| old + 1)));
        });
        let [first, low, high] = memory.map(|word| u64::from(word.into_inner()));
        let byte = ROUNDS % 256;
        assert_eq!(first, byte + (byte << 8) + (ROUNDS << 16));
        assert_eq!((high << 32) + low, (ROUNDS << 31) + ROUNDS);
    }
}
