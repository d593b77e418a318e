//! The tables of docs/memory.md are what the program says; `TINYLLM_UPDATE=1 cargo test -p tinyllm-cli --test program
//! documentation` writes them anew.

use std::fmt::Write;

use serde_json::Value;

use super::{json, root, text};

const BEGIN: &str = "<!-- generated from `tinyllm plan --json` -->\n";
const END: &str = "<!-- end -->\n";

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let threes = digits.as_bytes().rchunks(3).rev().map(|three| std::str::from_utf8(three).unwrap());
    threes.collect::<Vec<_>>().join(",")
}

fn plan(flags: &[&str]) -> Value {
    json(&[&["plan", "--preset", "llama-7b", "--json"], flags].concat())
}

/// Bytes of the regions whose names contain one of `parts`, padding apart.
fn bytes_of(plan: &Value, parts: &[&str]) -> u64 {
    let regions = plan["regions"].as_array().unwrap().iter();
    let named = regions.filter(|region| {
        let name = region["name"].as_str().unwrap();
        region["slab"] == "weights" && parts.iter().any(|part| name.contains(part))
    });
    named.map(|region| region["bytes"].as_u64().unwrap()).sum()
}

fn weights() -> String {
    let (int8, f16) = (plan(&[]), plan(&["--weights", "f16"]));
    let rows: [(&str, &[&str]); 8] = [
        (
            "q, k and v, one layer",
            &["layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj", "layers.0.self_attn.v_proj"],
        ),
        ("attention out, one layer", &["layers.0.self_attn.o_proj"]),
        ("gate, up and down, one layer", &["layers.0.mlp"]),
        ("one layer", &["layers.0.self_attn", "layers.0.mlp"]),
        ("32 layers", &["self_attn", "mlp"]),
        ("embedding (f16)", &["embed_tokens"]),
        ("lm_head", &["lm_head"]),
        ("65 norms (f16)", &["norm"]),
    ];
    let mut table =
        String::from("| LLaMA-7B | int8, g = 128, with f16 scales | f16 |\n| --- | ---: | ---: |\n");
    for (name, parts) in rows {
        let (int8, f16) = (grouped(bytes_of(&int8, parts)), grouped(bytes_of(&f16, parts)));
        writeln!(table, "| {name} | {int8} | {f16} |").unwrap();
    }
    let (int8, f16) = (grouped(bytes_of(&int8, &[""])), grouped(bytes_of(&f16, &[""])));
    writeln!(table, "| **model** | **{int8}** | **{f16}** |").unwrap();
    table
}

fn kv() -> String {
    let mut table = String::from(
        "| KV cache of LLaMA-7B, f16 (int8) | batch 1 | batch 4 | batch 8 |\n| --- | ---: | ---: | ---: |\n",
    );
    for tokens in ["512", "1024", "2048", "4096"] {
        write!(table, "| {tokens} tokens |").unwrap();
        for batch in ["1", "4", "8"] {
            let kv = |format| {
                let plan = plan(&["--ctx-size", tokens, "--batch", batch, "--kv", format]);
                grouped(plan["categories"]["kv"]["bytes"].as_u64().unwrap())
            };
            write!(table, " {} ({}) |", kv("f16"), kv("int8")).unwrap();
        }
        table.push('\n');
    }
    table
}

fn activations() -> String {
    let mut table = String::from(
        "| LLaMA-7B, batch 1, 2048 tokens | activations | workspace | logits | arena over its lower bound |\n\
         | --- | ---: | ---: | ---: | ---: |\n",
    );
    for (name, chunk) in [("chunks of 512", "512"), ("in one piece", "2048")] {
        let plan = plan(&["--ctx-size", "2048", "--prefill-chunk", chunk, "--threads", "2"]);
        let bytes = |category: &str| grouped(plan["categories"][category]["bytes"].as_u64().unwrap());
        let number = |key: &str| plan["arena"][key].as_f64().unwrap();
        let ratio = number("bytes") / number("lower_bound_bytes");
        let (activations, workspace, logits) = (bytes("activations"), bytes("workspace"), bytes("logits"));
        writeln!(table, "| {name} | {activations} | {workspace} | {logits} | {ratio:.4} |").unwrap();
    }
    table
}

#[test]
fn tables_are_what_the_program_says() {
    let path = root().join("docs/memory.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let tables = format!("\n{}\n{}\n{}\n", weights(), kv(), activations());
    let fresh = format!("{before}{BEGIN}{tables}{END}{after}");
    let picture = root().join("docs/images/plan-tinyllama-1.1b.svg");
    let folder = tempfile::tempdir().unwrap();
    let drawn = folder.path().join("plan.svg");
    text(&[
        "plan",
        "--preset",
        "tinyllama-1.1b",
        "--ctx-size",
        "2048",
        "--threads",
        "2",
        "--svg",
        drawn.to_str().unwrap(),
    ]);
    let drawn = std::fs::read_to_string(drawn).unwrap();
    if std::env::var_os("TINYLLM_UPDATE").is_some() {
        std::fs::write(&path, &fresh).unwrap();
        std::fs::write(&picture, &drawn).unwrap();
    }
    let again = "TINYLLM_UPDATE=1 cargo test -p tinyllm-cli --test program documentation";
    assert!(std::fs::read_to_string(&path).unwrap() == fresh, "docs/memory.md has drifted: {again}");
    assert!(std::fs::read_to_string(&picture).unwrap() == drawn, "the picture has drifted: {again}");
    // From arithmetic: the model in int8, and one token's keys and values (2 · 32 · 4096 · 2 bytes) times 2048.
    assert!(fresh.contains("**6,972,989,440**") && fresh.contains("**13,476,831,232**"));
    assert!(fresh.contains("1,073,741,824"));
}
