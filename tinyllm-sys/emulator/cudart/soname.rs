// Included by the build scripts of `v12` and `v13`.

/// Gives the library a name, and each of its symbols that name as its version: programs are linked against symbols with a version,
/// and the loader complains about a library without any. `lld`, which rustc prefers, cannot do that; where GNU's linker is missing,
/// the library has no versions, and works.
fn versioned(soname: &str) {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../soname.rs");
    let is_linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if !is_linux {
        return;
    }
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,{soname}");
    let has_gnu = std::process::Command::new("ld.bfd").arg("--version").output().is_ok();
    if has_gnu {
        println!("cargo::rustc-cdylib-link-arg=-fuse-ld=bfd");
        println!("cargo::rustc-cdylib-link-arg=-Wl,--default-symver");
    }
}
