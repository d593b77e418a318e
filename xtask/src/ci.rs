//! What a change must pass, fast checks first.

use xshell::{Shell, cmd};

pub(crate) fn run() -> anyhow::Result<()> {
    let shell = Shell::new()?;
    cmd!(shell, "cargo fmt --all -- --check").run()?;
    crate::tidy::run()?;
    cmd!(shell, "cargo clippy --workspace --all-targets --quiet -- -D warnings").run()?;
    cmd!(shell, "cargo check --package tinyllm-mem --no-default-features --quiet").run()?;
    cmd!(shell, "cargo package --workspace --no-verify --allow-dirty --quiet").run()?;
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        crate::kernels::run(true)?;
        // The emulator's forms of PTX are compared with this assembler's.
        shell.set_var("TINYLLM_PTXAS", crate::kernels::ptxas()?);
    } else {
        println!("the kernels' PTX is not checked: its compiler runs on Linux on x86-64 only");
    }
    // The program's comments are its help texts: brackets there are not links.
    cmd!(shell, "cargo doc --workspace --exclude tinyllm-cli --no-deps --quiet")
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;
    cmd!(shell, "cargo test --workspace").run()?;
    Ok(())
}
