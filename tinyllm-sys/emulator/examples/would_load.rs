//! Which kernels of files of PTX the emulator runs: `would_load [--json] FILE...`; 1 if there is one that it does not.
#![allow(clippy::print_stdout)] // what it is for

use std::process::ExitCode;

use serde_json::json;
use tinyllm_emulator::{LoadError, would_load};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (options, files): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument == "--json");
    let as_json = !options.is_empty();
    let mut all = true;
    for file in files {
        let ptx = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
        let kernels = match would_load(&ptx) {
            Ok(kernels) => kernels,
            // Nothing of it can be had.
            Err(error) => vec![(String::new(), Some(error))],
        };
        let mut loaded = 0;
        for (name, error) in &kernels {
            loaded += usize::from(error.is_none());
            let problems = match error {
                None => Vec::new(),
                Some(LoadError::Kernel { problems, .. }) => {
                    problems.iter().map(ToString::to_string).collect()
                }
                Some(error) => vec![error.to_string()],
            };
            if as_json {
                println!(
                    "{}",
                    json!({ "file": file, "kernel": name, "loads": error.is_none(), "problems": problems })
                );
            } else {
                problems.iter().for_each(|problem| println!("{file}: {name}: {problem}"));
            }
        }
        all &= loaded == kernels.len();
        if !as_json {
            println!("{file}: {loaded} of {} kernels load", kernels.len());
        }
    }
    Ok(ExitCode::from(u8::from(!all)))
}
