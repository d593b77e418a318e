//! What `quantize` and `pull` leave when they are ended from outside: nothing that stays, and nothing mixed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{AUSTEN_FILES, Machine, austen, server::Files, text_of};

/// Signals that end a program, by their names and numbers.
const SIGNALS: [(&str, i32); 4] = [("KILL", 9), ("INT", 2), ("TERM", 15), ("HUP", 1)];

fn send(child: &Child, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// A directory with a model, and a directory to write to.
struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    /// The model takes a while to quantise.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        std::fs::create_dir_all(&model).unwrap();
        std::fs::create_dir(folder.path().join("parent")).unwrap();
        let (hidden, vocabulary, layers) = (256, 32_000, 2);
        let config = serde_json::json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
            "intermediate_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 4,
            "num_key_value_heads": 4, "vocab_size": vocabulary, "max_position_embeddings": 512,
            "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false, "torch_dtype": "float16",
        });
        std::fs::write(model.join("config.json"), config.to_string()).unwrap();
        let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for name in ["model.embed_tokens", "lm_head"] {
            shapes.insert(format!("{name}.weight"), vec![vocabulary, hidden]);
        }
        shapes.insert("model.norm.weight".into(), vec![hidden]);
        for layer in 0..layers {
            for name in [
                "self_attn.q_proj",
                "self_attn.k_proj",
                "self_attn.v_proj",
                "self_attn.o_proj",
                "mlp.gate_proj",
                "mlp.up_proj",
                "mlp.down_proj",
            ] {
                shapes.insert(format!("model.layers.{layer}.{name}.weight"), vec![hidden, hidden]);
            }
            for name in ["input_layernorm", "post_attention_layernorm"] {
                shapes.insert(format!("model.layers.{layer}.{name}.weight"), vec![hidden]);
            }
        }
        std::fs::write(model.join("model.safetensors"), safetensors(&shapes)).unwrap();
        Workshop { folder }
    }

    fn parent(&self) -> PathBuf {
        self.folder.path().join("parent")
    }

    fn quantize(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tinyllm"));
        command
            .args(["quantize", "--json"])
            .args([self.folder.path().join("model"), self.parent().join("out")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Everything beside the model, with its bytes.
    fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        let mut names = Vec::new();
        super::walk(&self.parent(), &self.parent(), &mut names);
        names.iter().map(|name| (name.clone(), std::fs::read(self.parent().join(name)).unwrap())).collect()
    }

    /// Unfinished folders.
    fn left(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.parent()).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".tinyllm-quantize-")).collect()
    }
}

/// A file of f16 weights that are not all the same.
fn safetensors(shapes: &BTreeMap<String, Vec<usize>>) -> Vec<u8> {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in shapes {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        let entry = serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    // 0x3000 to 0x30ff: from an eighth on.
    file.extend((0..end).map(|index| if index % 2 == 0 { (index / 2 % 251) as u8 } else { 0x30 }));
    file
}

#[test]
fn a_signal_takes_the_unfinished_folder_away_and_a_kill_leaves_it_to_the_next() {
    use std::os::unix::process::ExitStatusExt;

    let workshop = Workshop::new();
    for (signal, number) in SIGNALS {
        let before = workshop.left();
        let mut child = workshop.quantize().spawn().unwrap();
        while (workshop.left().is_empty() || workshop.left() == before) && child.try_wait().unwrap().is_none()
        {
            std::thread::yield_now();
        }
        send(&child, signal);
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(number), "{signal}: {status}");
        assert_eq!(workshop.left().len(), usize::from(signal == "KILL"), "{signal}");
        assert!(!workshop.parent().join("out").exists(), "{signal}");
    }
    assert!(workshop.quantize().status().unwrap().success());
    assert_eq!(
        workshop.everything().into_keys().collect::<Vec<_>>(),
        ["out/config.json", "out/model.safetensors"]
    );
    assert!(workshop.left().is_empty());
}

#[test]
fn a_signal_that_the_program_was_started_to_ignore_is_ignored() {
    let workshop = Workshop::new();
    let quantize = workshop.quantize();
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(quantize.get_program())
        .args(quantize.get_args())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while workshop.everything().is_empty() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    send(&child, "HUP");
    assert!(child.wait().unwrap().success());
    assert!(workshop.parent().join("out/model.safetensors").exists());
}

#[test]
fn the_alias_s_download_is_taken_away_too() {
    use std::os::unix::fs::PermissionsExt;

    let machine = Machine::with_gguf(b"");
    let folder = machine.home.path().join("bin");
    std::fs::create_dir(&folder).unwrap();
    for (signal, left) in [("KILL", 1), ("TERM", 0)] {
        // Half a download, then the signal, which ends the program before the download can fail.
        let pip = folder.join("python3");
        std::fs::write(&pip, format!("#!/bin/sh\necho half > $7/half.whl\nkill -{signal} $PPID\nsleep 5\n"))
            .unwrap();
        std::fs::set_permissions(&pip, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let output = machine.command(&["show", "smollm2"]).env("PATH", path).output().unwrap();
        assert_eq!(output.status.code(), None, "{signal}: {}", String::from_utf8_lossy(&output.stderr));
        let models = machine.home.path().join("cache/tinyllm/models");
        assert_eq!(std::fs::read_dir(models).unwrap().count(), left, "{signal}");
    }
}

/// Moments, from a generator that always gives the same.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        below.mul_f64((self.0 >> 11) as f64 / (1u64 << 53) as f64)
    }
}

fn wait_and_send(mut child: Child, moment: Duration, signal: &str) -> bool {
    std::thread::sleep(moment);
    if child.try_wait().unwrap().is_none() {
        send(&child, signal);
    }
    !child.wait().unwrap().success()
}

const KILLS: usize = 50;

#[test]
#[ignore = "a minute of kills at random moments: cargo test -p tinyllm-cli --test hub -- --ignored --nocapture kills"]
fn fifty_kills_of_quantize_leave_nothing() {
    let workshop = Workshop::new();
    let measure = || {
        let _ = std::fs::remove_dir_all(workshop.parent().join("out"));
        let start = Instant::now();
        assert!(workshop.quantize().status().unwrap().success());
        start.elapsed()
    };
    // The shortest of three: most signals are to come in time.
    let duration = (0..3).map(|_| measure()).min().unwrap();
    let whole = workshop.everything();
    let mut moments = Moments(1);
    let (mut ended, mut left) = (0, 0);
    for kill in 0..KILLS {
        let _ = std::fs::remove_dir_all(workshop.parent().join("out"));
        let (signal, _) = SIGNALS[kill % SIGNALS.len()];
        let before = workshop.left();
        ended +=
            usize::from(wait_and_send(workshop.quantize().spawn().unwrap(), moments.next(duration), signal));
        if signal == "KILL" {
            left += workshop.left().difference(&before).count();
        } else {
            assert!(workshop.left().is_subset(&before), "{signal} left a folder");
        }
        if workshop.parent().join("out").exists() {
            let found: BTreeMap<_, _> =
                workshop.everything().into_iter().filter(|(name, _)| name.starts_with("out/")).collect();
            assert!(found == whole, "{signal}: another model");
        }
    }
    let _ = std::fs::remove_dir_all(workshop.parent().join("out"));
    assert!(workshop.quantize().status().unwrap().success());
    assert!(workshop.everything() == whole && workshop.left().is_empty(), "something is left");
    println!(
        "quantize: {KILLS} signals ({ended} in time) within {duration:.2?}: {left} folders after SIGKILL, none after the \
         other signals, none after the next quantize; no model but the whole one under its name"
    );
}

/// The model at one of its commits: every file differs.
fn commit(number: usize) -> Files {
    let mut files = austen();
    for (name, bytes) in &mut files {
        if name.ends_with(".json") {
            bytes.extend(std::iter::repeat_n(b' ', number + 1));
        } else {
            // Among the weights, so that all commits can be opened.
            let middle = bytes.len() / 2;
            bytes[middle] ^= number as u8;
        }
    }
    // One that stays as it is, to be linked.
    files.insert("generation_config.json".into(), austen()["generation_config.json"].clone());
    files
}

fn holds(folder: &Path, files: &Files) -> bool {
    AUSTEN_FILES.iter().all(|name| std::fs::read(folder.join(name)).is_ok_and(|bytes| bytes == files[*name]))
}

#[test]
#[ignore = "a minute of kills at random moments: cargo test -p tinyllm-cli --test hub -- --ignored --nocapture kills"]
fn fifty_kills_of_pull_mix_and_leave_nothing() {
    let machine = Machine::new(commit(0));
    let start = Instant::now();
    machine.text(&["pull", "org/name"]);
    // Some may come after all is done, so that others come at the end.
    let duration = start.elapsed().mul_f64(1.2);
    let mut is_here = true;
    let mut moments = Moments(2);
    let (mut ended, mut whole, mut updates, mut commits) = (0, 0, 0, BTreeMap::new());
    let mut seen = BTreeSet::<String>::new();
    commits.insert("c0ffee".to_owned(), commit(0));
    for kill in 0..KILLS {
        // Every third pull is an update.
        if kill % 3 == 2 {
            updates += 1;
            let name = format!("c0ffee{updates}");
            commits.insert(name.clone(), commit(updates));
            machine.push(&name, commit(updates));
        }
        if kill % 10 == 9 && is_here {
            machine.text(&["rm", "org/name"]);
            is_here = false;
        }
        let (signal, _) = SIGNALS[kill % SIGNALS.len()];
        let mut pull = machine.command(&["pull", "org/name"]);
        pull.stdout(Stdio::null()).stderr(Stdio::null());
        ended += usize::from(wait_and_send(pull.spawn().unwrap(), moments.next(duration), signal));
        // Without the hub: a model that is whole, or none where there was none.
        let mut offline = machine.command(&["show", "org/name", "--json"]);
        offline.env("HF_ENDPOINT", "http://127.0.0.1:1");
        let output = offline.output().unwrap();
        assert!(
            output.status.success() || !is_here,
            "kill {kill}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        if output.status.success() {
            (whole, is_here) = (whole + 1, true);
            let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let folder = Path::new(shown["path"].as_str().unwrap());
            let found: Vec<_> = commits.keys().filter(|commit| holds(folder, &commits[*commit])).collect();
            assert_eq!(found.len(), 1, "kill {kill}: mixed");
            seen.insert(found[0].clone());
        }
    }
    let path = text_of(machine.command(&["pull", "org/name"]));
    let head = commits.iter().find(|(_, files)| holds(Path::new(path.trim()), files)).unwrap().0;
    assert_eq!(*head, format!("c0ffee{updates}"));
    let mut expected: Vec<String> =
        AUSTEN_FILES.iter().map(|file| format!("snapshots/{head}/name/{file}")).collect();
    expected.insert(0, ".tinyllm-pull.json".into());
    assert_eq!(machine.everything(), expected, "something is left");
    println!(
        "pull: {KILLS} signals ({ended} in time) within {duration:.2?}, {updates} updates: {whole} times a whole model of \
         one commit without the hub ({} commits), else none and none before; nothing is left after the last pull",
        seen.len()
    );
}
