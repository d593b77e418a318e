//! Tokens a second: `tinyllm bench`, with one thread and with two.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use xshell::{Shell, cmd};

const NEW_TOKENS: u64 = 128;
/// Depths at which decode is measured too, as far as the model's context reaches.
const DEPTHS: [u64; 4] = [1024, 2048, 4096, 8192];

/// The commands, and the rows of all of them.
pub(super) fn measure(
    shell: &Shell,
    program: &Path,
    model: &str,
    runs: u32,
) -> anyhow::Result<(Vec<String>, Vec<Value>)> {
    let shown: Value = serde_json::from_str(&cmd!(shell, "{program} show {model} --json").read()?)?;
    let context = shown["config"]["max_position_embeddings"].as_u64().context("the model's context")?;
    let mut tests = vec![format!("-p 512 -n {NEW_TOKENS} -d 0 -b 1,8")];
    let depths = depths(context);
    if !depths.is_empty() {
        // Alone: eight sequences as long as this would take minutes to fill.
        tests.push(format!("-p 0 -n {NEW_TOKENS} -d {} -b 1", depths.join(",")));
    }
    let (mut commands, mut rows) = (Vec::new(), Vec::new());
    for test in tests {
        let flags = format!("{test} -t 1,2 -r {runs} -o json");
        commands.push(format!("tinyllm bench {model} {flags}"));
        let flags = flags.split(' ');
        let output = cmd!(shell, "{program} bench {model} {flags...}").read()?;
        rows.extend(serde_json::from_str::<Vec<Value>>(&output)?);
    }
    Ok((commands, rows))
}

/// The depths that leave room for the generated tokens; the first that does not is lowered to a round one that does.
fn depths(context: u64) -> Vec<String> {
    let most = context.saturating_sub(NEW_TOKENS) / 100 * 100;
    let mut depths: Vec<u64> = DEPTHS.into_iter().map(|depth| depth.min(most)).filter(|d| *d > 0).collect();
    depths.dedup();
    depths.iter().map(u64::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::depths;

    #[test]
    fn depths_stay_inside_the_context() {
        assert_eq!(depths(8192).join(","), "1024,2048,4096,8000");
        assert_eq!(depths(2048).join(","), "1024,1900");
        assert_eq!(depths(131072).join(","), "1024,2048,4096,8192");
        assert!(depths(128).is_empty());
    }
}
