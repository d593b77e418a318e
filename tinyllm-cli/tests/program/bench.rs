//! `bench`: the shape of its rows and what its chart shows. What it measures is not a test's to judge.

use serde_json::{Value, json};

use super::{austen, refusal, text};

#[test]
fn rows_have_the_documented_keys_in_every_format() {
    let model = austen();
    let model = model.to_str().unwrap();
    let flags = ["-p", "8", "-n", "4", "-d", "0,16", "-b", "1,2", "-r", "2", "-t", "1,2", "-o"];
    let run = |format: &str| text(&[&["bench", model], &flags[..], &[format]].concat());
    let rows: serde_json::Value = serde_json::from_str(&run("json")).unwrap();
    let rows = rows.as_array().unwrap();
    // For each of two thread counts and two depths: one prompt, two batches.
    assert_eq!(rows.len(), 2 * 2 * 3);
    let keys = [
        "test",
        "device",
        "threads",
        "depth",
        "batch",
        "tokens_per_s",
        "stddev",
        "ttft_ms",
        "tpot_ms",
        "bytes_per_token",
        "read_bandwidth_bytes_per_s",
        "bandwidth_fraction",
        "dot_peak_ops_per_s",
        "dot_fraction",
    ];
    for row in rows {
        assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), keys);
        assert!(row["tokens_per_s"].as_f64().unwrap() > 0.0);
        assert_eq!(row["bandwidth_fraction"].is_null(), row["test"] == "pp8");
        assert_eq!(row["dot_fraction"].is_null(), row["test"] == "tg4");
        assert!(row["dot_peak_ops_per_s"].as_f64().unwrap() > 0.0);
    }
    let count = |key: &str, value: u64| rows.iter().filter(|row| row[key] == value).count();
    assert_eq!((count("threads", 2), count("depth", 16), count("batch", 2)), (6, 6, 4));
    assert!(run("csv").starts_with(&keys.join(",")));
    assert!(run("md").contains("| tg4"));
    assert!(refusal(&["bench", model, "-p", "0", "-n", "0"], b"").contains("nothing to measure"));
    assert!(refusal(&["run", model, "hi", "-t", "1,2"], b"").contains("one number"));
}

#[test]
fn a_device_and_a_split_are_measured() {
    let model = austen();
    let model = model.to_str().unwrap();
    let flags = ["-p", "4", "-n", "2", "-r", "1", "-o", "json"];
    for (device, name) in [("emulated", "emulated:0"), ("emulated,cpu", "emulated:0,cpu")] {
        let bench = ["bench", model, "--device", device];
        let split = if name.contains("cpu") { &["--gpu-layers", "1"][..] } else { &[] };
        let rows: Value = serde_json::from_str(&text(&[&bench[..], &flags, split].concat())).unwrap();
        for row in rows.as_array().unwrap() {
            assert_eq!(row["device"], name);
            assert!(row["tokens_per_s"].as_f64().unwrap() > 0.0);
            // One limit of one device.
            assert_eq!(row["read_bandwidth_bytes_per_s"].is_null(), name.contains("cpu"), "{row}");
        }
    }
}

#[test]
fn mapped_weights_count_as_read() {
    let model = austen();
    let file_bytes = std::fs::metadata(model.join("model.safetensors")).unwrap().len();
    let model = model.to_str().unwrap();
    for flags in [&[][..], &["--mmap"]] {
        let bench = ["bench", model, "-p", "0", "-n", "2", "-r", "1", "-t", "1", "-o", "json"];
        let rows: Value = serde_json::from_str(&text(&[&bench[..], flags].concat())).unwrap();
        // The table of embeddings is that of the logits, so all of the file is read; 16-bit there, it has 8 in memory.
        let share = rows[0]["bytes_per_token"].as_f64().unwrap() / file_bytes as f64;
        assert!((0.8..1.0).contains(&share), "{flags:?}: {share} of the file");
    }
}

/// Rows as the program prints them, and some of another program.
fn results() -> Value {
    let row = |test: &str, depth: usize, tokens_per_s: f64| {
        json!({
            "test": test, "threads": 2, "depth": depth, "batch": 1, "tokens_per_s": tokens_per_s,
            "bytes_per_token": 1e6, "read_bandwidth_bytes_per_s": 1e9,
        })
    };
    let mut prompt = row("pp512", 0, 900.0);
    prompt["dot_fraction"] = json!(0.6);
    json!({
        "model": "a <model>", "machine": "a machine", "date": "2026-01-01", "commit": "abc",
        "rows": [prompt, row("tg128", 0, 250.0), row("tg128", 2048, 125.0), row("tg128", 8000, 62.5)],
        "peers": [{
            "contender": "another & another", "test": "tg32", "threads": 2, "depth": 2048, "tokens_per_s": 100.0,
            "ratio": 1.25,
        }],
    })
}

/// Every element that is opened is closed, in order, and nothing else has a `<` or a bare `&`.
fn assert_is_well_formed(xml: &str) {
    let mut open = Vec::new();
    for part in xml.split('<').skip(1) {
        let (tag, words) = part.split_once('>').unwrap();
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        assert!(tag.matches('"').count() % 2 == 0 && !words.contains('>'), "{part}");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{part}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        for entity in part.split('&').skip(1) {
            assert!(["amp;", "lt;", "gt;", "quot;"].iter().any(|known| entity.starts_with(known)), "{part}");
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn charts_show_what_a_file_of_results_holds() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let draw = |results: &Value| {
        std::fs::write(at("results.json"), results.to_string()).unwrap();
        assert_eq!(text(&["bench", "--from", &at("results.json"), "--svg", &at("chart.svg")]), "");
        let svg = std::fs::read_to_string(at("chart.svg")).unwrap();
        assert!(svg.starts_with("<svg"));
        assert_is_well_formed(&svg);
        svg
    };
    let svg = draw(&results());
    for words in [
        "a &lt;model&gt;",
        "a machine, 2026-01-01, abc",
        "prompt of 512 tokens",
        ">900.0<",
        "0.60 of the limit",
        "decoding after 2048 tokens",
        "125.0",
        "0.12 of the limit",
        "another &amp; another",
        "100.0",
        "in turns 1.25×",
        "where the two ran in turns",
        "milliseconds a token",
        "2 threads, 8000 tokens: 16.00 ms, at least 1.00",
    ] {
        assert!(svg.contains(words), "{words}: {svg}");
    }
    assert!(!svg.contains("decoding after 8000"), "only in the panel over depth");
    // A list of rows alone is enough, without what only some versions write.
    let mut rows = results()["rows"].clone();
    rows[0].as_object_mut().unwrap().remove("dot_fraction");
    let svg = draw(&rows);
    assert!(svg.contains(">900.0<") && !svg.contains("another"));
}

#[test]
fn a_run_draws_its_own_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chart.svg");
    let model = austen();
    let flags = ["-p", "8", "-n", "2", "-d", "0,16", "-r", "1", "-t", "1", "--svg", path.to_str().unwrap()];
    assert!(text(&[&["bench", model.to_str().unwrap()], &flags[..]].concat()).contains("| tg2"));
    let svg = std::fs::read_to_string(path).unwrap();
    assert_is_well_formed(&svg);
    assert!(svg.contains("prompt of 8 tokens") && svg.contains("of the limit"));
}

#[test]
fn a_file_that_cannot_be_drawn_is_refused_by_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.json");
    let chart = folder.path().join("chart.svg");
    let refuse = |contents: &str| {
        std::fs::write(&path, contents).unwrap();
        let arguments = ["bench", "--from", path.to_str().unwrap(), "--svg", chart.to_str().unwrap()];
        let stderr = refusal(&arguments, b"");
        assert!(stderr.contains(path.to_str().unwrap()) && !chart.exists(), "{stderr}");
        stderr
    };
    let with = |list: &str, field: &str, value: Value| {
        let mut results = results();
        results[list][0][field] = value;
        refuse(&results.to_string())
    };
    let mut missing = results();
    missing["rows"][1].as_object_mut().unwrap().remove("tokens_per_s");
    assert!(refuse(&missing.to_string()).contains("missing field `tokens_per_s`"));
    assert!(with("rows", "bytes_per_token", json!(0)).contains("rows[0].bytes_per_token is 0"));
    assert!(with("rows", "test", json!("mm512")).contains("rows[0].test is \"mm512\""));
    assert!(with("peers", "tokens_per_s", json!(-1.0)).contains("peers[0].tokens_per_s is -1"));
    assert!(refuse("[]").contains("nothing to draw"));
    assert!(refuse("{}").contains("missing field `rows`"));
    assert!(refuse("[{").contains("line 1"));
    refusal(&["bench", "--from", path.to_str().unwrap()], b"");
    refusal(&["bench", "smollm2", "--from", path.to_str().unwrap(), "--svg", "x.svg"], b"");
}
