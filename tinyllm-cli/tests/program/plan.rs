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
    assert_eq!(counters.len(), 6, "three slabs, made and freed");
    assert!(counters[2]["args"]["kv"].as_u64().unwrap() > 0);
    assert_eq!(counters[5]["args"]["kv"], 0);
}
