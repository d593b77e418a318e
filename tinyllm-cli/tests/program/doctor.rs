//! `doctor` on machines with and without a GPU. The driver is a small library made here, in the state a machine may be
//! found in, where the loader looks for the real one.
#![cfg(target_os = "linux")]

use std::{path::Path, process::Command};

use serde_json::Value;

/// What `doctor` prints with a driver in `states`, as text and as JSON; with what the machine has where there is `None`.
fn doctor(states: Option<&[&str]>) -> (String, Value) {
    let folder = tempfile::tempdir().unwrap();
    if let Some(states) = states {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/fixtures/driver.rs");
        let compiler = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let status = Command::new(compiler)
            .args(["--edition", "2021", "-o"])
            .arg(folder.path().join("libcuda.so"))
            .args(states.iter().flat_map(|state| ["--cfg", *state]))
            .arg(source)
            .status()
            .unwrap();
        assert!(status.success());
    }
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tinyllm"))
            .args(arguments)
            .env("LD_LIBRARY_PATH", folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let json = serde_json::from_str(&run(&["doctor", "--json"])).unwrap();
    (run(&["doctor"]), json)
}

fn problem(json: &Value) -> &str {
    json["cuda"]["problem"].as_str().unwrap()
}

#[test]
fn a_gpu_is_described() {
    let (text, json) = doctor(Some(&[]));
    assert!(text.contains("supports CUDA 12.8"), "{text}");
    assert!(
        text.contains("NVIDIA Paper 1, compute capability 8.6, 82 multiprocessors, 24.0 GiB\n"),
        "{text}"
    );
    assert_eq!(json["cuda_driver"], true);
    assert_eq!(json["cuda"]["version"], "12.8");
    assert_eq!(json["cuda"]["devices"][0]["memory_total_bytes"], 24u64 << 30);
    assert_eq!(json["cuda"]["problem"], Value::Null);
    // This one gives no context.
    assert_eq!(json["cuda"]["devices"][0]["memory_free_bytes"], Value::Null);
    assert!(text.contains("cannot be used"), "{text}");
}

#[test]
fn a_driver_that_is_too_old_is_named_with_the_remedy() {
    // Whether or not it has every function that newer ones have.
    for states in [&["old"][..], &["old", "no_pools"]] {
        let (text, json) = doctor(Some(states));
        assert_eq!(json["cuda"]["version"], "11.4");
        for part in ["CUDA 11.4", "12.0 or later", "update NVIDIA's driver to 525"] {
            assert!(problem(&json).contains(part) && text.contains(part), "{part}: {text}");
        }
    }
}

#[test]
fn what_a_driver_lacks_is_named() {
    let (text, json) = doctor(Some(&["no_pools"]));
    assert!(problem(&json).contains("cuMemPoolCreate") && text.contains("cuMemPoolCreate"), "{text}");
    let (text, json) = doctor(Some(&["no_device"]));
    assert!(problem(&json).contains("no GPU") && text.contains("CUDA_VISIBLE_DEVICES"), "{text}");
    let (text, json) = doctor(Some(&["broken"]));
    assert!(problem(&json).contains("cuInit(): CUDA_ERROR_UNKNOWN (999)"), "{text}");
}

#[test]
fn this_machine_is_told_what_it_has_or_lacks_in_one_screen() {
    let (text, json) = doctor(None);
    assert!(text.lines().count() <= 24, "{text}");
    // The loader finds a real driver wherever it is; then its devices are named, or what it lacks.
    if json["cuda_driver"] == true {
        let devices = json["cuda"]["devices"].as_array().unwrap();
        assert_ne!(devices.is_empty(), json["cuda"]["problem"].is_null(), "{json}");
    } else {
        assert!(text.contains("libcuda.so.1") && text.contains("driver, 525 or later"), "{text}");
    }
}
