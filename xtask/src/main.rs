//! Tasks of the repository. `cargo xtask ci` runs what a change must pass.

use std::process::ExitCode;

use xshell::{Shell, cmd};

mod flags {
    //! The command line.
    #![allow(missing_docs)] // generated

    xflags::xflags! {
        /// Tasks of the repository.
        cmd xtask {
            /// Format, lints, documentation, tests.
            cmd ci {}
        }
    }
}

fn main() -> ExitCode {
    let result = match flags::Xtask::from_env_or_exit().subcommand {
        flags::XtaskCmd::Ci(_) => ci(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn ci() -> anyhow::Result<()> {
    let shell = Shell::new()?;
    cmd!(shell, "cargo fmt --all -- --check").run()?;
    cmd!(shell, "cargo clippy --workspace --all-targets --quiet -- -D warnings").run()?;
    cmd!(shell, "cargo doc --workspace --no-deps --quiet").env("RUSTDOCFLAGS", "-D warnings").run()?;
    cmd!(shell, "cargo test --workspace").run()?;
    Ok(())
}
