//! `plan`, and the runs that must equal it.

use serde_json::Value;

use super::{austen, json, refusal, run, text, tiny};

fn bytes(plan: &Value, category: &str) -> u64 {
    plan["categories"][category]["bytes"].as_u64().unwrap_or(0)
}

/// By hand: a layer has 4 · 4096² + 3 · 4096 · 11008 weights, a scale (2 bytes) for each 128 of them.
#[test]
fn llama_7b_takes_what_arithmetic_says() {
    let plan = json(&["plan", "--preset", "llama-7b", "--ctx-size", "2048", "--json"]);
    assert_eq!(bytes(&plan, "weights"), 6_607_077_376);
    assert_eq!(bytes(&plan, "scales"), 103_235_584);
    assert_eq!(bytes(&plan, "embeddings"), 262_144_000);
    assert_eq!(bytes(&plan, "norms"), 532_480);
    assert_eq!(bytes(&plan, "kv"), 1_073_741_824);
    assert_eq!(bytes(&plan, "padding"), 0);
    let arena = bytes(&plan, "activations") + bytes(&plan, "workspace") + bytes(&plan, "logits");
    assert!(arena <= 48 << 20, "{arena}");
    assert_eq!(plan["arena"]["bytes"], plan["arena"]["lower_bound_bytes"]);
    let sum: u64 =
        plan["categories"].as_object().unwrap().values().map(|c| c["bytes"].as_u64().unwrap()).sum();
    assert_eq!(plan["total_bytes"], sum);
    // Longer prompts take more cache and nothing else.
    let longer = json(&["plan", "--preset", "llama-7b", "--ctx-size", "4096", "--batch", "4", "--json"]);
    assert_eq!(bytes(&longer, "kv"), 8 * 1_073_741_824);
    assert_eq!(bytes(&longer, "activations"), bytes(&plan, "activations"));
}

#[test]
fn a_run_takes_what_was_planned() {
    let model = austen();
    let model = model.to_str().unwrap();
    for flags in [
        &["--ctx-size", "200"][..],
        &["--weights", "f32"],
        &["--kv", "int8", "--group-size", "64", "-t", "3"],
        &["--device", "emulated", "--prefill-chunk", "16", "--ctx-size", "64"],
        &[
            "--device",
            "emulated:0,emulated:1,cpu",
            "--gpu-layers",
            "2",
            "--prefill-chunk",
            "8",
            "--ctx-size",
            "64",
        ],
    ] {
        let plan = json(&[&["plan", model, "--json"], flags].concat());
        let answer = json(&[&["run", model, "It is", "--raw", "-n", "20", "--json"], flags].concat());
        let memory = answer["memory"].as_object().unwrap();
        assert_eq!(memory.len(), plan["categories"].as_object().unwrap().len());
        for (category, planned) in plan["categories"].as_object().unwrap() {
            assert_eq!(memory[category]["peak_bytes"], planned["bytes"], "{flags:?} {category}");
            assert_eq!(memory[category]["count"], planned["count"], "{flags:?} {category}");
        }
    }
}

#[test]
fn a_plan_has_a_column_for_each_device() {
    let model = austen();
    let model = model.to_str().unwrap();
    let devices = |flags: &[&str]| {
        let plan = json(&[&["plan", model, "--ctx-size", "64", "--json"], flags].concat());
        let devices = plan["devices"].as_array().unwrap().clone();
        devices.iter().map(|device| (device["device"].clone(), device["layers"].clone())).collect::<Vec<_>>()
    };
    let layers = json(&["show", model, "--json"])["config"]["num_hidden_layers"].as_u64().unwrap();
    let place = |name: &str, from: u64, to: u64| (Value::from(name), Value::from(vec![from, to]));
    assert_eq!(devices(&["--device", "cpu"]), [place("cpu", 0, layers)]);
    assert_eq!(devices(&["--device", "emulated"]), [place("emulated:0", 0, layers)]);
    // As in llama.cpp, the last layers are the GPU's; devices that are named are in their order.
    let last = [place("cpu", 0, layers - 1), place("emulated:0", layers - 1, layers)];
    assert_eq!(devices(&["--device", "emulated", "--gpu-layers", "1"]), last);
    let first = [place("emulated:0", 0, 1), place("cpu", 1, layers)];
    assert_eq!(devices(&["--device", "emulated,cpu", "--gpu-layers", "1"]), first);
    let none = ["--device", "emulated@64MiB,cpu", "--memory-budget", "emulated:0=1KiB"];
    assert_eq!(devices(&none), [place("cpu", 0, layers)]);
    let table = text(&["plan", model, "--device", "emulated,cpu", "--gpu-layers", "1"]);
    assert!(table.contains("bytes by device") && table.contains("emulated:0"), "{table}");
    for (flags, problem) in [
        (&["--device", "cpu,cpu"][..], "named twice"),
        (&["--device", "auto,cpu"], "auto chooses alone"),
        (&["--device", "cpu", "--gpu-layers", "3"], "names no GPU"),
        (&["--device", "cpu", "--memory-budget", "cuda:0=1GiB"], "cuda:0 is not among the devices: cpu"),
        (&["--device", "emulated@1GiB,emulated:1@2GiB"], "the same memory"),
        (
            &["--device", "emulated:0,emulated:1", "--memory-budget", "emulated:0=1KiB,emulated:1=1KiB"],
            "have room for 0",
        ),
    ] {
        let refused = refusal(&[&["plan", model], flags].concat(), b"");
        assert!(refused.contains(problem), "{flags:?}: {refused}");
    }
    // A run that does not fit a device is refused before it is loaded, with what would.
    let small = ["run", model, "It is", "--device", "emulated@2MiB", "--ctx-size", "4096"];
    let refused = refusal(&small, b"");
    assert!(refused.contains("emulated:0") && refused.contains("--gpu-layers auto"), "{refused}");
}

#[test]
fn budgets_are_kept_or_refused_with_numbers() {
    let model = austen();
    let model = model.to_str().unwrap();
    let plan = json(&["plan", model, "--ctx-size", "400", "--json"]);
    let total = plan["total_bytes"].as_u64().unwrap();
    let fits = json(&["plan", model, "--ctx-size", "400", "--memory-budget", &total.to_string(), "--json"]);
    assert_eq!(fits["fits"]["fits"], true);
    let largest = fits["fits"]["max_seq_len"].as_u64().unwrap();
    assert!((400..=400 + 15).contains(&largest), "within the last block: {largest}");
    let less = (total - 1).to_string();
    let stderr = refusal(&["run", model, "hi", "--ctx-size", "400", "--memory-budget", &less], b"");
    assert!(stderr.contains("1 too few") && stderr.contains("--kv int8"), "{stderr}");
    let auto = json(&["plan", model, "--ctx-size", "auto", "--memory-budget", &less, "--json"]);
    assert!(auto["total_bytes"].as_u64().unwrap() < total);
    assert!(refusal(&["run", model, "hi", "--ctx-size", "auto"], b"").contains("--memory-budget"));
    let stderr = refusal(&["run", model, "hi", "--memory-limit", "kv=1KB"], b"");
    assert!(stderr.contains("kv needs") && stderr.contains("budget is 1000"), "{stderr}");
    assert!(refusal(&["run", model, "hi", "--memory-limit", "kvv=1KB"], b"").contains("workspace"));
    assert!(refusal(&["plan", model, "--memory-budget", "8 parsecs"], b"").contains("GiB"));
}

#[test]
fn a_script_hears_of_a_missed_budget() {
    let model = austen();
    let model = model.to_str().unwrap();
    let status = |options: &[&str]| {
        let output = run(&[&["plan", model, "--ctx-size", "400"], options].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let small = ["--memory-budget", "1MB"];
    assert_eq!(status(&small).0, Some(0));
    let (code, text) = status(&["--memory-budget", "1MB", "--check"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("does not fit"), "{text}");
    let (code, text) = status(&["--memory-limit", "kv=1KB", "--check", "--json"]);
    let plan: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &plan["fits"]["fits"]), (Some(1), &Value::Bool(false)));
    assert_eq!(status(&["--memory-budget", "1GB", "--memory-limit", "kv=1GB", "--check"]).0, Some(0));
    // Without a budget this machine's memory is one.
    assert_eq!(status(&["--check"]).0, Some(0));
    assert_eq!(run(&["plan", "--preset", "llama-70b", "--batch", "4096", "--check"]).status.code(), Some(1));
}

#[test]
fn a_context_beyond_the_models_and_memory_beyond_the_machines_are_warned_of() {
    let model = austen();
    let model = model.to_str().unwrap();
    let said = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    // config.json says 512.
    let ids = vec!["1"; 513].join(",");
    for arguments in [
        &["run", model, "hi", "-n", "1", "-c", "513"][..],
        &["plan", model, "-c", "513"],
        &["logits", model, "--ids", &ids],
        &["bench", model, "-p", "0", "-n", "1", "-d", "600", "-r", "1"],
    ] {
        let stderr = said(arguments);
        assert!(stderr.contains("beyond the 512"), "{arguments:?}: {stderr}");
    }
    assert!(!said(&["run", model, "hi", "-n", "1", "-c", "512"]).contains("warning"));
    // A cache of some 2 KiB a token.
    let stderr = said(&["plan", model, "-c", "4000000000"]);
    assert!(stderr.contains("TiB") && stderr.contains("are free here"), "{stderr}");
    let output = run(&["run", model, "hi", "-n", "1", "-c", "4000000000"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("are free here"));
}

#[test]
fn scaled_positions_reach_further() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(format!("{}/config.json", tiny("qwen3"))).unwrap()).unwrap();
    let longest = config["max_position_embeddings"].as_u64().unwrap();
    config["rope_scaling"] =
        serde_json::json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": longest});
    std::fs::write(&path, config.to_string()).unwrap();
    let warns = |tokens: u64| {
        let output = run(&["plan", "--config", path.to_str().unwrap(), "-c", &tokens.to_string()]);
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap().contains("beyond the")
    };
    assert!(!warns(4 * longest));
    assert!(warns(4 * longest + 1));
}

#[test]
fn a_configuration_or_a_preset_is_enough() {
    let config = format!("{}/config.json", tiny("qwen3"));
    assert!(text(&["plan", "--config", &config]).contains("total"));
    for preset in ["llama-13b", "llama-70b", "llama-3-8b", "smollm2-135m", "mistral-7b", "qwen2.5-7b"] {
        assert!(text(&["plan", "--preset", preset]).contains("of the lower bound"), "{preset}");
    }
    refusal(&["plan"], b"");
    refusal(&["plan", "--preset", "gpt-2"], b"");
}

#[test]
fn pictures_and_traces_are_well_formed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let model = austen();
    let model = model.to_str().unwrap();
    text(&["plan", model, "--svg", &at("plan.svg"), "--html", &at("plan.html")]);
    let svg = std::fs::read_to_string(at("plan.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(svg.matches("<title>").count(), svg.matches("</title>").count());
    assert!(svg.contains("model.embed_tokens.weight") && svg.contains("residual"));
    assert!(std::fs::read_to_string(at("plan.html")).unwrap().contains(&svg));

    let output =
        run(&["run", model, "It is", "-n", "3", "--memory-report", "--memory-trace", &at("trace.json")]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("leaks: none") && stderr.contains("peak bytes"), "{stderr}");
    let trace: Value = serde_json::from_slice(&std::fs::read(at("trace.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let counters: Vec<&Value> = events.iter().filter(|event| event["ph"] == "C").collect();
    assert_eq!(counters.len(), 8, "four slabs, made and freed");
    assert!(counters[3]["args"]["kv"].as_u64().unwrap() > 0);
    assert_eq!(counters[7]["args"]["kv"], 0);
}
