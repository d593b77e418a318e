//! How an emulator is made.

use std::{env, path::PathBuf};

use super::{
    emulator::Emulator,
    injection::{InjectedFailure, Injection, ModuleEdit},
    state::{Config, State},
};
use crate::Check;

/// A variable of the environment with a value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is {value:?}: it should be {expected}")]
pub struct BadSetting {
    /// Its name.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
    /// The values that it may have.
    pub expected: &'static str,
}

fn text(variable: &'static str) -> Result<Option<String>, BadSetting> {
    match env::var(variable) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(value)) => {
            let value = value.to_string_lossy().into_owned();
            Err(BadSetting { variable, value, expected: "text" })
        }
    }
}

/// A number, perhaps with `K`, `M` or `G` for powers of 1024.
fn number(variable: &'static str) -> Result<Option<u64>, BadSetting> {
    let Some(value) = text(variable)? else { return Ok(None) };
    let (digits, shift) = match value.as_bytes().last() {
        Some(b'K') => (&value[..value.len() - 1], 10),
        Some(b'M') => (&value[..value.len() - 1], 20),
        Some(b'G') => (&value[..value.len() - 1], 30),
        _ => (value.as_str(), 0),
    };
    let parsed = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match parsed {
        Some(number) => Ok(Some(number)),
        None => Err(BadSetting { variable, value, expected: "a number such as 4096 or 8G" }),
    }
}

/// Settings of an [`Emulator`].
#[derive(Clone, Debug)]
pub struct Builder {
    devices: usize,
    memory_bytes: u64,
    seed: u64,
    check: Check,
    threads: usize,
    budget: Option<u64>,
    report: Option<PathBuf>,
    summary: Option<PathBuf>,
    injected: Option<InjectedFailure>,
    edit: Option<ModuleEdit>,
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            devices: 1,
            memory_bytes: 8 << 30,
            seed: 0,
            check: Check::all(),
            threads: 0,
            budget: None,
            report: None,
            summary: None,
            injected: None,
            edit: None,
        }
    }
}

impl Builder {
    /// The settings that the environment gives: `TINYLLM_EMULATOR_DEVICES`, `_MEMORY` (bytes, or with `K`, `M`, `G`), `_SEED`,
    /// `_CHECK` (a list as [`Check::parse`] reads it), `_THREADS`, `_BUDGET` (see [`Builder::instruction_budget`]), `_REPORT`, a file
    /// that findings are added to at the end, a line of JSON each, and `_SUMMARY`, a file that a line with the number of launches and
    /// of the threads' instructions is added to.
    ///
    /// # Errors
    /// The first variable with another value, with those that it may have.
    pub fn from_env() -> Result<Self, BadSetting> {
        let mut builder = Builder::default();
        if let Some(devices) = number("TINYLLM_EMULATOR_DEVICES")? {
            builder.devices = devices as usize;
        }
        if let Some(bytes) = number("TINYLLM_EMULATOR_MEMORY")? {
            builder.memory_bytes = bytes;
        }
        if let Some(seed) = number("TINYLLM_EMULATOR_SEED")? {
            builder.seed = seed;
        }
        if let Some(threads) = number("TINYLLM_EMULATOR_THREADS")? {
            builder.threads = threads as usize;
        }
        builder.budget = number("TINYLLM_EMULATOR_BUDGET")?;
        if let Some(list) = text("TINYLLM_EMULATOR_CHECK")? {
            builder.check = Check::parse(&list).map_err(|name| BadSetting {
                variable: "TINYLLM_EMULATOR_CHECK",
                value: name,
                expected: "all, none, or a list of memcheck, initcheck, racecheck, synccheck, leak, stream and contraction",
            })?;
        }
        builder.report = text("TINYLLM_EMULATOR_REPORT")?.map(PathBuf::from);
        builder.summary = text("TINYLLM_EMULATOR_SUMMARY")?.map(PathBuf::from);
        Ok(builder)
    }

    /// A file that findings are added to when the last clone of the emulator goes, a line of JSON each.
    #[must_use]
    pub fn report(self, path: impl Into<PathBuf>) -> Self {
        Builder { report: Some(path.into()), ..self }
    }

    /// How many devices; 1 by default.
    #[must_use]
    pub fn devices(self, devices: usize) -> Self {
        Builder { devices, ..self }
    }

    /// Memory of each device in bytes; 8 GiB by default. It takes no memory until it is written.
    #[must_use]
    pub fn memory(self, bytes: u64) -> Self {
        Builder { memory_bytes: bytes, ..self }
    }

    /// The seed that chooses among the work that may run next; 0 by default.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Builder { seed, ..self }
    }

    /// Which checks run; all by default.
    #[must_use]
    pub fn check(self, check: Check) -> Self {
        Builder { check, ..self }
    }

    /// Threads that run blocks; as many as the machine has by default. No result depends on it, but that of a kernel whose
    /// blocks race, which is found whichever runs first.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Builder { threads, ..self }
    }

    /// How many instructions the warps of one launch may take together, about; as many as they like by default. A launch that needs
    /// more ends in `CUDA_ERROR_LAUNCH_TIMEOUT`, as with a watchdog. Without it too, one ends so that waits for what nobody
    /// can write any more.
    #[must_use]
    pub fn instruction_budget(self, instructions: u64) -> Self {
        Builder { budget: Some(instructions), ..self }
    }

    /// Fails a call, for tests of what a program does then.
    #[must_use]
    pub fn inject(self, failure: InjectedFailure) -> Self {
        Builder { injected: Some(failure), ..self }
    }

    /// Loads the PTX of modules as `edit` leaves it, for tests that plant faults in a program's kernels.
    #[must_use]
    pub fn edit_modules(self, edit: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Builder { edit: Some(ModuleEdit::new(edit)), ..self }
    }

    /// The emulator.
    pub fn build(self) -> Emulator {
        let pool =
            (self.threads > 0).then(|| rayon::ThreadPoolBuilder::new().num_threads(self.threads).build());
        // Where no threads can be had, those of the whole program do it.
        let threads = pool.and_then(Result::ok);
        let (report, summary) = (self.report, self.summary);
        let config = Config { check: self.check, threads, budget: self.budget, report, summary };
        let state = State::new(self.devices, self.memory_bytes, self.seed, config);
        Emulator::new(state, Injection::new(self.injected, self.edit))
    }
}

impl Default for Emulator {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl Emulator {
    /// By default one device of 8 GiB with all checks.
    pub fn builder() -> Builder {
        Builder::default()
    }
}
