//! The resources that `ptxas -v` reports of each kernel, as a table.

use anyhow::{Context, bail};

use super::occupancy::Target;

/// Rows of the table.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<String>);

/// The resources of one kernel.
#[derive(Debug, Default, PartialEq, Eq)]
struct Usage {
    kernel: String,
    registers: u32,
    stack_bytes: u32,
    spill_bytes: u32,
    shared_bytes: u32,
}

impl Table {
    /// Adds the kernels of a file from the assembler's report.
    ///
    /// # Errors
    /// A report that is not understood, a kernel that spills, or one that does not say how many threads its blocks have.
    pub(super) fn add(&mut self, file: &str, target: &Target, ptx: &str, report: &str) -> anyhow::Result<()> {
        let usages = parse(report)?;
        for usage in usages {
            if usage.spill_bytes > 0 {
                bail!("{} spills {} bytes of registers", usage.kernel, usage.spill_bytes);
            }
            let threads = block_threads(ptx, &usage.kernel)
                .with_context(|| format!("{} has no __launch_bounds__", usage.kernel))?;
            let (warps, most) = target.occupancy(threads, usage.registers, usage.shared_bytes);
            self.0.push(format!(
                "| {file} | {} | {} | {threads} | {} | {} | {} | {warps} of {most} |",
                usage.kernel, target.name, usage.registers, usage.stack_bytes, usage.shared_bytes,
            ));
        }
        Ok(())
    }

    pub(super) fn finish(self) -> String {
        let head = "# What the kernels take\n\nMade by `cargo xtask kernels`: `ptxas -v` of CUDA 12.0 (sm_80 to sm_90) and 13.0. \
                    No kernel spills registers.\n\n\
                    | file | kernel | target | threads a block at most | registers | stack, bytes | shared, bytes | warps at once |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |\n";
        format!("{head}{}\n", self.0.join("\n"))
    }
}

/// The kernels of a report.
fn parse(report: &str) -> anyhow::Result<Vec<Usage>> {
    let mut usages: Vec<Usage> = Vec::new();
    for line in report.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let kernel = rest.split('\'').next().unwrap_or_default().to_owned();
            usages.push(Usage { kernel, ..Usage::default() });
            continue;
        }
        let Some(usage) = usages.last_mut() else { continue };
        let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        for window in words.windows(4) {
            match window {
                [bytes, "bytes", "stack", "frame"] => usage.stack_bytes = bytes.parse()?,
                [bytes, "bytes", "spill", _] => usage.spill_bytes += bytes.parse::<u32>()?,
                _ => {}
            }
        }
        for window in words.windows(3) {
            match window {
                [_, count, "registers"] => usage.registers = count.parse()?,
                [bytes, "bytes", "smem"] => usage.shared_bytes = bytes.parse()?,
                _ => {}
            }
        }
    }
    match usages.iter().find(|usage| usage.registers == 0) {
        Some(usage) => bail!("no registers of {} in the assembler's report:\n{report}", usage.kernel),
        None if usages.is_empty() => bail!("no kernel in the assembler's report:\n{report}"),
        None => Ok(usages),
    }
}

/// `.maxntid` of a kernel: threads of a block at most.
fn block_threads(ptx: &str, kernel: &str) -> Option<u32> {
    let (_, entry) = ptx.split_once(&format!(".entry {kernel}("))?;
    let (head, _) = entry.split_once('{')?;
    let (_, bounds) = head.split_once(".maxntid ")?;
    bounds.lines().next()?.split(',').map(|part| part.trim().parse::<u32>().ok()).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ptxas 12.0 printed it.
    const REPORT: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'rms_norm_f16' for 'sm_80'
ptxas info    : Function properties for rms_norm_f16
    16 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 17 registers, 128 bytes smem, 392 bytes cmem[0]
";

    #[test]
    fn a_report_is_read() {
        let usage = Usage {
            kernel: "rms_norm_f16".into(),
            registers: 17,
            stack_bytes: 16,
            spill_bytes: 12,
            shared_bytes: 128,
        };
        assert_eq!(parse(REPORT).ok(), Some(vec![usage]));
        // ptxas 13.0 has barriers in between.
        let newer = REPORT.replace("registers, ", "registers, used 1 barriers, ");
        assert_eq!(parse(&newer).map(|usages| usages[0].shared_bytes).ok(), Some(128));
        assert!(parse("ptxas fatal").is_err());
    }

    #[test]
    fn bounds_are_read() {
        let ptx =
            ".visible .entry a(\n.param .u64 p\n)\n.maxntid 16, 8, 2\n{\n}\n.visible .entry b(\n)\n{\n}";
        assert_eq!(block_threads(ptx, "a"), Some(256));
        assert_eq!(block_threads(ptx, "b"), None);
    }
}
