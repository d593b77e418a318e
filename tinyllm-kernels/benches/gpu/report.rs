//! Runs a case: once, checked, then timed; and reports it.

use crate::{
    device::{Device, Outcome},
    timing::{Graph, Timing, time},
};

/// Kernel launches in a CUDA graph at least, so that the few microseconds between two graphs do not matter.
const FEWEST_LAUNCHES: usize = 4;

/// Kernels with fewer operations per byte are bound by memory: reported relative to a copy's bandwidth.
const MEMORY_BOUND: f64 = 150.0;

/// A case to time, with the bytes and operations of one launch.
pub(crate) struct Case<'a> {
    pub(crate) bench: &'static str,
    pub(crate) kernel: &'a str,
    pub(crate) case: String,
    pub(crate) bytes: usize,
    pub(crate) operations: usize,
}

/// The report: rows are printed as they are measured, and errors are collected.
pub(crate) struct Report {
    json: bool,
    rows: usize,
    failures: usize,
    /// Bandwidth of a copy, which is the first case.
    copy_bytes_per_second: Option<f64>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        if json {
            println!("[");
        }
        Report { json, rows: 0, failures: 0, copy_bytes_per_second: None }
    }

    /// Runs all cases of a bench.
    pub(crate) fn bench(
        &mut self,
        name: &str,
        device: &Device,
        run: impl FnOnce(&Device, &mut Report) -> Outcome,
    ) {
        if let Err(error) = run(device, self) {
            self.fail(name, &error.to_string());
        }
    }

    /// A case of kernel launches; `check` gets the index of the last launch.
    pub(crate) fn launched(
        &mut self,
        device: &Device,
        case: &Case<'_>,
        sets: usize,
        launch: impl Fn(usize) -> Outcome,
        check: impl FnOnce(usize) -> Outcome,
    ) {
        let launches = sets.max(FEWEST_LAUNCHES);
        // The first launch is not captured: the driver may load the kernel then.
        let graph = launch(0)
            .and_then(|()| device.synchronize())
            .and_then(|()| Graph::capture(device, launches, launch));
        match graph {
            Ok(graph) => self.timed(device, case, launches, || graph.replay(), || check(launches - 1)),
            Err(error) => self.fail_case(case, &error.to_string()),
        }
    }

    /// A case whose launches `run` enqueues on the stream.
    pub(crate) fn timed(
        &mut self,
        device: &Device,
        case: &Case<'_>,
        launches: usize,
        run: impl Fn() -> Outcome,
        check: impl FnOnce() -> Outcome,
    ) {
        let timing = run()
            .and_then(|()| device.synchronize())
            .and_then(|()| check())
            .and_then(|()| time(device, launches, run));
        match timing {
            Ok(timing) => self.tell(case, timing),
            Err(error) => self.fail_case(case, &error.to_string()),
        }
    }

    fn tell(&mut self, case: &Case<'_>, timing: Option<Timing>) {
        let a_second = |count: usize| timing.map(|timing| count as f64 / timing.microseconds * 1e6);
        let (bytes_per_second, operations_per_second) = (a_second(case.bytes), a_second(case.operations));
        if case.bench == "copy" {
            self.copy_bytes_per_second = bytes_per_second;
        }
        let memory_bound = (case.operations as f64) < case.bytes as f64 * MEMORY_BOUND;
        let fraction = bytes_per_second
            .zip(self.copy_bytes_per_second)
            .filter(|_| memory_bound)
            .map(|(bytes, copied)| bytes / copied);
        if self.json {
            let row = serde_json::json!({
                "bench": case.bench,
                "kernel": case.kernel,
                "case": case.case,
                "microseconds": timing.map(|timing| timing.microseconds),
                "spread_microseconds": timing.map(|timing| timing.spread_microseconds),
                "bytes": case.bytes,
                "operations": case.operations,
                "bytes_per_s": bytes_per_second,
                "operations_per_s": operations_per_second,
                "bandwidth_fraction": fraction,
            });
            println!("{}{row}", if self.rows == 0 { "" } else { "," });
        } else {
            let figures = match timing {
                Some(Timing { microseconds, spread_microseconds }) => format!(
                    "{microseconds:>10.2} µs ± {spread_microseconds:<7.2} {:>6.0} GB/s {:>7.2} TFLOP/s {}",
                    bytes_per_second.unwrap_or_default() / 1e9,
                    operations_per_second.unwrap_or_default() / 1e12,
                    fraction.map(|share| format!("{:>4.0} %", share * 100.0)).unwrap_or_default()
                ),
                None => "right".to_owned(),
            };
            println!("{:<28} {:<42} {figures}", case.kernel, case.case);
        }
        self.rows += 1;
    }

    fn fail_case(&mut self, case: &Case<'_>, why: &str) {
        self.fail(&format!("{} {}", case.kernel, case.case), why);
    }

    fn fail(&mut self, what: &str, why: &str) {
        eprintln!("{what}: {why}");
        self.failures += 1;
    }

    /// Whether there were no errors, from checks or from the emulated device.
    pub(crate) fn end(mut self, findings: &[String]) -> bool {
        if self.json {
            println!("]");
        }
        for finding in findings {
            self.fail("found by the emulated device", finding);
        }
        self.failures == 0
    }
}
