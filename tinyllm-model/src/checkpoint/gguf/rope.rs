//! RoPE scaling from metadata (`rope.scaling.*`) or from the tensor `rope_freqs.weight`.

use super::{Gguf, dequantize::dequantize, keys::Keys, tensors::ROPE_FREQS};
use crate::{ModelError, Result, config::RopeScaling};

const SUPPORTED: &str = "none, linear and yarn are, and the divisors in rope_freqs.weight";

/// The RoPE scaling.
///
/// # Errors
/// Where the file asks for a scaling that the engine does not have.
pub(super) fn scaling(gguf: &Gguf, keys: &Keys<'_>, head_dim: usize) -> Result<RopeScaling> {
    let scaling = by_metadata(keys)?;
    let Some(freqs) = gguf.tensor(ROPE_FREQS) else { return Ok(scaling) };
    if scaling != RopeScaling::Default {
        let what = "scaling beside the tensor rope_freqs.weight";
        return Err(keys.unsupported("rope.scaling.type", what, "one of the two is"));
    }
    if freqs.shape != [head_dim / 2] {
        let problem = format!(
            "has shape {:?}, and must have [{}], one for each pair of a head",
            freqs.shape,
            head_dim / 2
        );
        return Err(ModelError::malformed(gguf.path(), ROPE_FREQS, problem));
    }
    let mut divisors = vec![0.0; head_dim / 2];
    let mut bytes = vec![0; freqs.len_bytes()];
    gguf.bytes(freqs)?.read_at(0, &mut bytes)?;
    dequantize(freqs.ggml_type, &bytes, &mut divisors);
    Ok(RopeScaling::Divisors(divisors))
}

fn by_metadata(keys: &Keys<'_>) -> Result<RopeScaling> {
    // Files from before 2023-09 have only `rope.scale_linear`; a factor without a type is linear too.
    let factor = match keys.float("rope.scaling.factor")? {
        Some(factor) => Some(factor),
        None => keys.float("rope.scale_linear")?,
    };
    // 0 is written for "none".
    let factor = factor.filter(|&factor| factor != 0.0);
    match keys.string("rope.scaling.type")? {
        Some("none") => with_attention_factor(keys, RopeScaling::Default),
        None | Some("linear") => with_attention_factor(
            keys,
            match factor {
                None | Some(1.0) => RopeScaling::Default,
                Some(factor) => RopeScaling::Linear { factor },
            },
        ),
        Some("yarn") => yarn(keys, factor),
        Some(other) => {
            let what = format!("\"{}\"", super::cursor::shown(other));
            Err(keys.unsupported("rope.scaling.type", what, SUPPORTED))
        }
    }
}

/// llama.cpp multiplies cos and sin with `attn_factor` under any type. YaRN with factor 1 does the same.
fn with_attention_factor(keys: &Keys<'_>, scaling: RopeScaling) -> Result<RopeScaling> {
    const KEY: &str = "rope.scaling.attn_factor";
    match (keys.float(KEY)?, scaling) {
        (None | Some(1.0), scaling) => Ok(scaling),
        (Some(attention_factor), RopeScaling::Default) => Ok(RopeScaling::Yarn {
            factor: 1.0,
            attention_factor,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
            original_max_position_embeddings: keys.size("context_length")?.unwrap_or(1),
        }),
        (Some(value), _) => {
            Err(keys.unsupported(KEY, format!("the value {value} beside a factor"), "either of them is"))
        }
    }
}

fn yarn(keys: &Keys<'_>, factor: Option<f64>) -> Result<RopeScaling> {
    let factor =
        factor.ok_or_else(|| keys.malformed("rope.scaling.factor", "is missing, and yarn needs it"))?;
    for suffix in ["rope.scaling.yarn_ext_factor", "rope.scaling.yarn_attn_factor"] {
        if let Some(value) = keys.float(suffix)?
            && value != 1.0
        {
            return Err(keys.unsupported(suffix, format!("the value {value}"), "1, the default, is"));
        }
    }
    let original_max_position_embeddings = match keys.size("rope.scaling.original_context_length")? {
        Some(tokens) => tokens,
        None => keys.size("context_length")?.unwrap_or(0),
    };
    // The paper's temperature, 0.1 ln(factor) + 1. A logarithmic multiplier (DeepSeek's mscale_all_dim) divides it out
    // again in part.
    let temperature =
        |multiplier: f64| if factor > 1.0 { 0.1 * multiplier * libm::log(factor) + 1.0 } else { 1.0 };
    let multiplier = keys.float("rope.scaling.yarn_log_multiplier")?.unwrap_or(0.0);
    let attention_factor =
        keys.float("rope.scaling.attn_factor")?.unwrap_or(1.0) * temperature(1.0) / temperature(multiplier);
    Ok(RopeScaling::Yarn {
        factor,
        attention_factor,
        beta_fast: keys.float("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
        beta_slow: keys.float("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
        truncate: true,
        original_max_position_embeddings,
    })
}
