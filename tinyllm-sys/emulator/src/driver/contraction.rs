//! The check of sums of products: a note for each kernel, the first time that it runs.

use crate::{
    kernel::{Kernel, contractible_pairs},
    report::{Finding, Kind},
};

/// Pairs whose lines a note has; of the others it has the number.
const MOST_LISTED: usize = 8;

/// The note about a kernel, if there is anything to say.
pub(super) fn note(kernel: &Kernel, work: &str) -> Option<Finding> {
    let pairs = contractible_pairs(kernel);
    let mut sums: Vec<u32> = pairs.iter().map(|pair| pair.sum).collect();
    sums.dedup();
    let place = |pc: u32| {
        let site = kernel.site(pc)?;
        Some((site.ptx_line, site.source))
    };
    let listed = pairs.iter().take(MOST_LISTED).filter_map(|pair| {
        let ((product, _), (sum, source)) = (place(pair.product)?, place(pair.sum)?);
        let source = source.map_or_else(String::new, |(file, line)| format!(" ({file}:{line})"));
        Some(format!("{product} and {sum}{source}"))
    });
    let mut lines = listed.collect::<Vec<_>>().join(", ");
    if pairs.len() > MOST_LISTED {
        lines += &format!(", and {} more", pairs.len() - MOST_LISTED);
    }
    Some(Finding {
        site: kernel.site(*sums.first()?),
        note: format!(
            "{} of its additions take a product, both without a rounding modifier: ptxas may make fma of them, whose bits \
             differ; .rn fixes them; PTX lines {lines}",
            sums.len()
        ),
        ..Finding::new(Kind::Contraction, work)
    })
}
