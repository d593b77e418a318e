//! Counter-based random numbers: a draw is a function of (seed, token index), so a token does not depend on how many
//! were drawn before it, on threads, or on the device.

/// A number in [0, 1) with 53 random bits.
///
/// SplitMix64 (Steele, Lea, Flood 2014) is a bijection that passes BigCrush on consecutive counters; two rounds keep
/// seeds and indices apart.
pub(super) fn uniform(seed: u64, index: u64) -> f64 {
    let mixed = split_mix(split_mix(seed).wrapping_add(index));
    (mixed >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_mix_gives_the_published_sequence() {
        // The first outputs of the reference generator with seed 1234567 (Rosetta Code, "SplitMix64").
        let gamma = 0x9e37_79b9_7f4a_7c15u64;
        let outputs: Vec<u64> =
            (0..3).map(|i: u64| split_mix(1_234_567u64.wrapping_add(gamma.wrapping_mul(i)))).collect();
        assert_eq!(
            outputs,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn draws_are_uniform_and_independent_of_order() {
        let mean = (0..100_000).map(|index| uniform(42, index)).sum::<f64>() / 100_000.0;
        // Standard error of the mean of uniforms: sqrt(1/12/n) = 0.0009; five of them.
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        assert_eq!(uniform(7, 3), uniform(7, 3));
        assert_ne!(uniform(7, 3), uniform(8, 3));
    }
}
