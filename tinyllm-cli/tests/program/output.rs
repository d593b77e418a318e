//! Answers on stdout, everything else on stderr.

use std::io::Read;

use super::{austen, chat_model, refusal, run, text, text_with};

#[test]
fn without_a_model_the_built_in_one_babbles_and_says_so_once() {
    let output = run(&["run"]);
    assert_eq!(output.status.code(), Some(2), "an empty pipe is no prompt");
    let home = tempfile::tempdir().unwrap();
    let output = super::program(home.path())
        .args(["run", "-n", "12", "--temp", "0"])
        .stdin(std::fs::File::open(austen().join("special_tokens_map.json")).unwrap())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr.matches("babbles").count(), 1, "{stderr}");
    assert!(stderr.contains("tinyllm run smollm2"), "{stderr}");
    assert!(!output.stdout.is_empty());
}

#[test]
fn a_file_precedes_the_prompt() {
    let model = chat_model();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letter.txt");
    std::fs::write(&file, "Dear Jane.").unwrap();
    let model = model.path().to_str().unwrap();
    let prompt_ids = |arguments: &[&str], input: &[u8]| {
        let options = ["--raw", "-n", "1", "--temp", "0", "--json"];
        let arguments: Vec<&str> = ["run", model].iter().chain(arguments).chain(&options).copied().collect();
        let answer: serde_json::Value = serde_json::from_str(&text_with(&arguments, input)).unwrap();
        answer["prompt_ids"].clone()
    };
    let joined = prompt_ids(&["Dear Jane.\n\nAnswer it."], b"");
    assert_eq!(prompt_ids(&["Answer it.", "-f", file.to_str().unwrap()], b""), joined);
    assert_eq!(prompt_ids(&["Answer it.", "-f", "-"], b"Dear Jane."), joined);
    assert_eq!(prompt_ids(&[], b"Dear Jane.\n\nAnswer it."), joined);
    // What is piped precedes it too; nothing, or white space, does not.
    assert_eq!(prompt_ids(&["Answer it."], b"Dear Jane."), joined);
    assert_eq!(prompt_ids(&["Answer", "it."], b"Dear Jane.\n"), joined);
    let alone = prompt_ids(&["Answer it."], b"");
    assert_ne!(alone, joined);
    assert_eq!(prompt_ids(&["Answer it."], b" \n"), alone);
    assert_eq!(prompt_ids(&["Answer it.", "-f", file.to_str().unwrap()], b"Not read."), joined);
}

#[test]
fn waiting_for_a_pipe_is_said() {
    let home = tempfile::tempdir().unwrap();
    let mut child = super::program(home.path())
        .args(["run", austen().to_str().unwrap(), "It is", "-n", "1"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe stays open until the program says that it waits for its end.
    let pipe = child.stdin.take();
    let mut remark = [0; 20];
    child.stderr.as_mut().unwrap().read_exact(&mut remark).unwrap();
    assert_eq!(&remark, b"stdin is no terminal");
    drop(pipe);
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn a_limit_below_zero_is_none() {
    let model = austen();
    let ids = |limits: &[&str]| {
        let arguments =
            ["run", model.to_str().unwrap(), "It is", "--temp", "0", "--ctx-size", "64", "--json"];
        let answer: serde_json::Value = serde_json::from_str(&text(&[&arguments, limits].concat())).unwrap();
        answer["ids"].clone()
    };
    let unlimited = ids(&[]);
    assert_eq!(ids(&["-n", "-1", "--top-k", "-1", "--repeat-last-n", "-1"]), unlimited);
    assert_eq!(ids(&["--num-predict=-1"]), unlimited);
    assert_eq!(ids(&["-n", "3"]).as_array().unwrap().len(), 3);
    assert!(refusal(&["run", model.to_str().unwrap(), "It is", "-n", "-3"], b"").contains("-1 for no limit"));
}

#[test]
fn special_tokens_in_a_message_stay_text() {
    let folder = chat_model();
    let model = folder.path().to_str().unwrap();
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("config.json")).unwrap()).unwrap();
    let end = &config["eos_token_id"];
    let token = text(&["detokenize", model, "--ids", &end.to_string()]);
    let token: serde_json::Value = serde_json::from_str(&token).unwrap();
    let token = token["text"].as_str().unwrap();
    let answer = text(&["run", model, &format!("x{token}y"), "-n", "1", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert!(!answer["prompt_ids"].as_array().unwrap().contains(end), "{answer}");
}

#[test]
fn verbose_says_speed_and_memory_on_stderr() {
    let output = run(&["run", austen().to_str().unwrap(), "Emma", "-n", "4", "--verbose"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    for word in ["prefill", "decode", "kv", "total"] {
        assert!(stderr.contains(word), "{stderr}");
    }
    assert!(!String::from_utf8(output.stdout).unwrap().contains("prefill"));
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(&["completions", shell]);
        assert!(script.contains(env!("CARGO_BIN_EXE_tinyllm")) && script.contains(shell), "{shell} {script}");
    }
}

#[test]
fn shells_offer_verbs_flags_and_models_that_are_here() {
    let home = tempfile::tempdir().unwrap();
    let models = home.path().join("cache/tinyllm/models");
    std::fs::create_dir_all(&models).unwrap();
    std::fs::write(models.join("SmolLM2-135M-Instruct.Q4_1.gguf"), "").unwrap();
    // As the scripts ask.
    let complete = |shell: &str, words: &[&str]| {
        let mut program = super::program(home.path());
        program.env("TINYLLM_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
        let output = program.arg("--").args(words).current_dir(home.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish"] {
        assert!(complete(shell, &["tinyllm", "perp"]).contains("perplexity"), "{shell}");
        assert!(complete(shell, &["tinyllm", "run", "--pref"]).contains("--prefill-chunk"), "{shell}");
        for verb in ["run", "rm", "show", "plan", "bench"] {
            assert!(complete(shell, &["tinyllm", verb, "smo"]).contains("smollm2"), "{shell} {verb}");
        }
        // A model may be a path too, and what is removed may not.
        assert!(complete(shell, &["tinyllm", "show", "ca"]).contains("cache"), "{shell}");
        assert!(!complete(shell, &["tinyllm", "rm", "ca"]).contains("cache"), "{shell}");
    }
}

#[test]
fn bash_completes_through_its_script() {
    let home = tempfile::tempdir().unwrap();
    let ask = format!(
        "source <({} completions bash); COMP_WORDS=(tinyllm perpl) COMP_CWORD=1 COMP_TYPE=9; \
         _clap_complete_tinyllm tinyllm perpl tinyllm; echo \"${{COMPREPLY[@]}}\"",
        env!("CARGO_BIN_EXE_tinyllm")
    );
    let output =
        std::process::Command::new("bash").args(["-c", &ask]).env("HOME", home.path()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "perplexity");
}

#[test]
fn doctor_names_the_instruction_set() {
    let report = text(&["doctor"]);
    assert!(["avx512", "avx2", "portable"].iter().any(|isa| report.contains(isa)), "{report}");
}
