//! The end-of-turn tokens that a tokenizer knows: the eos token that its files name and, in a GGUF, tokens whose text is
//! known to end a turn, because converters often name another eos token. Those of config.json and generation_config.json
//! are in `config`.

use super::{parts::Library, special::SpecialTokens};

/// Tokens that end a turn in the families of models that have them, as llama.cpp has them.
const TURN_ENDS: [&str; 18] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
];

/// Whether a token's text is known to end a turn.
pub(super) fn ends_a_turn(token: &str) -> bool {
    TURN_ENDS.contains(&token)
}

/// The eos token that the files name.
pub(super) fn named(special: &SpecialTokens, tokenizer: &Library) -> Vec<u32> {
    special.get("eos_token").and_then(|token| tokenizer.token_to_id(token)).into_iter().collect()
}

/// The eos token, and all that are known to end a turn.
pub(super) fn of_gguf(special: &SpecialTokens, tokenizer: &Library) -> Vec<u32> {
    let mut ids = named(special, tokenizer);
    ids.extend(TURN_ENDS.iter().filter_map(|token| tokenizer.token_to_id(token)));
    ids.sort_unstable();
    ids.dedup();
    ids
}
